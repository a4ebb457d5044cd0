package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/issuer"
	"github.com/keyherald/keyherald/issuer/peer"
)

// edgeFlags say how requests come in: over TLS that ends here, or through proxies.
type edgeFlags struct {
	TLSCert          string   `name:"tls-cert" help:"File with the certificate and its chain (PEM) to serve HTTPS with. Read again when it changes." placeholder:"FILE" type:"path"`
	TLSKey           string   `name:"tls-key" help:"File with its private key (PEM)." placeholder:"FILE" type:"path"`
	TLSClientCA      string   `name:"tls-client-ca" help:"File with the authorities (PEM) whose certificates clients are known by, see cert subject. Read again when it changes." placeholder:"FILE" type:"path"`
	TrustedProxy     []string `name:"trusted-proxy" help:"Address or network of a proxy whose X-Forwarded-For is believed; may be repeated." placeholder:"CIDR"`
	ClientCertHeader string   `name:"client-cert-header" help:"Header in which such a proxy hands on the certificate that a client showed it, and which it removes from what clients send: as RFC 9440 has it, or as PEM in URL encoding." placeholder:"NAME"`
}

// checkEdge checks the flags that depend on each other.
func (f *edgeFlags) checkEdge(issuer string) error {
	switch {
	case (f.TLSCert == "") != (f.TLSKey == ""):
		return usage("--tls-cert and --tls-key go together")
	case f.ClientCertHeader != "" && len(f.TrustedProxy) == 0:
		return usage("--client-cert-header goes with --trusted-proxy: from anybody else it is no proof of anything")
	case f.TLSClientCA != "" && !f.certificates():
		return usage("--tls-client-ca goes with --tls-cert or --client-cert-header: no certificate gets here without")
	case f.TLSCert != "" && strings.HasPrefix(issuer, "http:"):
		return usage("--issuer %s is not where this is served: with --tls-cert it begins with https", issuer)
	}
	return nil
}

// scheme is that of the address of --http.
func (f *edgeFlags) scheme() string {
	if f.TLSCert != "" {
		return "https"
	}
	return "http"
}

// certificates reports whether clients can show certificates.
func (f *edgeFlags) certificates() bool { return f.TLSCert != "" || f.ClientCertHeader != "" }

// edge is how requests come in, in use.
type edge struct {
	log         zerolog.Logger
	certs       bool
	server      *reloaded[tls.Certificate] // nil: plain HTTP
	authorities *reloaded[x509.CertPool]   // nil: none
	proxies     *peer.Proxies              // nil: none
}

// openEdge reads the files.
func (f *edgeFlags) openEdge(log zerolog.Logger) (*edge, error) {
	e := &edge{log: log.With().Str("component", "tls").Logger(), certs: f.certificates()}
	var err error
	if f.TLSCert != "" {
		read := func() (*tls.Certificate, error) { return readPair(f.TLSCert, f.TLSKey) }
		if e.server, err = newReloaded("--tls-cert and --tls-key", read, f.TLSCert, f.TLSKey); err != nil {
			return nil, err
		}
	}
	if f.TLSClientCA != "" {
		read := func() (*x509.CertPool, error) { return readPool(f.TLSClientCA) }
		if e.authorities, err = newReloaded("--tls-client-ca", read, f.TLSClientCA); err != nil {
			return nil, err
		}
	}
	if len(f.TrustedProxy) > 0 {
		if e.proxies, err = f.openProxies(); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (f *edgeFlags) openProxies() (*peer.Proxies, error) {
	cfg := peer.Config{CertificateHeader: f.ClientCertHeader}
	for _, text := range f.TrustedProxy {
		prefix, err := netip.ParsePrefix(text)
		if addr, plain := netip.ParseAddr(text); plain == nil {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, usage("--trusted-proxy %q is neither an address nor a network such as 10.0.0.0/28", text)
		}
		cfg.Proxies = append(cfg.Proxies, prefix)
	}
	proxies, err := peer.New(cfg)
	if err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("--trusted-proxy, --client-cert-header: %w", err)}
	}
	return proxies, nil
}

// maxAuthorities is the size of a file with authorities, in bytes: that of all that browsers trust is a quarter of it.
const maxAuthorities = 1 << 20

func readPool(file string) (*x509.CertPool, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := readLimited(f, maxAuthorities)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", file, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(text)) {
		return nil, fmt.Errorf("file %s has no certificate in PEM", file)
	}
	return pool, nil
}

// configure tells the token service what clients can show.
func (e *edge) configure(cfg *issuer.Config) {
	cfg.Certificates = e.certs
	if e.authorities != nil {
		cfg.Authorities = e.authorities.value.Load
	}
}

// listen reads the files and listens.
func (c *serveCmd) listen(log zerolog.Logger) (*edge, net.Listener, error) {
	e, err := c.openEdge(log)
	if err != nil {
		return nil, nil, err
	}
	l, err := net.Listen("tcp", c.HTTP)
	if err != nil {
		return nil, nil, fmt.Errorf("listening for HTTP: %w (is another keyherald serve running? choose another address with --http)", err)
	}
	if e.server != nil {
		l = e.overTLS(l)
	}
	return e, l, nil
}

// overTLS makes TLS of what a listener accepts.
func (e *edge) overTLS(l net.Listener) net.Listener {
	return tls.NewListener(l, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return e.server.value.Load(), nil },
		// Asked for, and not verified: a certificate may be signed by nobody. Whether it is good is decided when somebody authenticates with it.
		// There is no list of authorities to ask for, because clients then keep back what is signed by others.
		ClientAuth: tls.RequestClientCert,
	})
}

// handler lets proxies say for whom they speak. That there is one which nobody has named is said once.
func (e *edge) handler(next http.Handler) http.Handler {
	if e.proxies != nil {
		return e.proxies.Handler(next)
	}
	var told sync.Once
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Forwarded-For") != "" {
			told.Do(func() {
				e.log.Warn().Str("address", r.RemoteAddr).Msg("a request says that it came through a proxy: if it did, name the proxy with --trusted-proxy, or all that come through it count as one address")
			})
		}
		next.ServeHTTP(w, r)
	})
}

// watch reads files again when they change.
func (e *edge) watch(ctx context.Context) error {
	return every(ctx, reloadEvery, func() {
		if e.authorities != nil {
			e.authorities.look(e.log)
		}
		if e.server != nil {
			e.server.look(e.log)
		}
	})
}
