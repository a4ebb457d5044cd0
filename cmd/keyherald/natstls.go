package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"

	"github.com/rs/zerolog"
)

// natsTrust says by which authorities a NATS server is known. Every command that connects to one has it.
type natsTrust struct {
	NATSTLSCA string `name:"nats-tls-ca" help:"File with the authorities (PEM) of which one must have signed the NATS server's certificate. Default: those of the system." placeholder:"FILE" type:"path"`
}

// natsTLSFlags are serve's: the certificate of the embedded server, and by whom it is signed.
type natsTLSFlags struct {
	NATSTLSCert string `name:"nats-tls-cert" help:"File with the certificate and its chain (PEM) of the embedded NATS server, which then takes no connection without TLS. Read again when it changes." placeholder:"FILE" type:"path"`
	NATSTLSKey  string `name:"nats-tls-key" help:"File with its private key (PEM)." placeholder:"FILE" type:"path"`
	natsTrust
}

// check checks the flags that depend on each other, nats being that of --nats.
func (f *natsTLSFlags) check(nats string) error {
	switch {
	case (f.NATSTLSCert == "") != (f.NATSTLSKey == ""):
		return usage("--nats-tls-cert and --nats-tls-key go together")
	case f.NATSTLSCert != "" && nats != "":
		return usage("--nats-tls-cert and --nats-tls-key are for the embedded server, and do not go with --nats")
	case f.NATSTLSCA != "" && f.NATSTLSCert == "" && nats == "":
		return usage("--nats-tls-ca goes with --nats, or with --nats-tls-cert and --nats-tls-key")
	}
	return nil
}

// natsCertificate is the certificate of the embedded server, in use. Nil: it has none.
type natsCertificate struct{ *reloaded[tls.Certificate] }

// open reads the files.
func (f *natsTLSFlags) open() (*natsCertificate, error) {
	if f.NATSTLSCert == "" {
		return nil, nil
	}
	files := []string{f.NATSTLSCert, f.NATSTLSKey}
	if f.NATSTLSCA != "" {
		files = append(files, f.NATSTLSCA)
	}
	r, err := newReloaded("--nats-tls-cert and --nats-tls-key", f.read, files...)
	if err != nil {
		return nil, err
	}
	return &natsCertificate{r}, nil
}

// read reads what a client can verify: commands and nodes elsewhere are told to trust the authorities of --nats-tls-ca, and no others.
func (f *natsTLSFlags) read() (*tls.Certificate, error) {
	pair, err := readPair(f.NATSTLSCert, f.NATSTLSKey)
	if err != nil || f.NATSTLSCA == "" {
		return pair, err
	}
	roots, err := readPool(f.NATSTLSCA)
	if err != nil {
		return nil, fmt.Errorf("--nats-tls-ca: %w", err)
	}
	return pair, checkChain(pair, f.NATSTLSCert, roots, f.NATSTLSCA)
}

func (c *natsCertificate) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.value.Load(), nil }}
}

// nameAt is the name by which the server at a URL is known, if it is not the URL's: one that listens everywhere has its certificate for
// the name that others call it, and is at a loopback address for commands on the same machine.
func (c *natsCertificate) nameAt(at string) string {
	if c == nil {
		return ""
	}
	u, err := url.Parse(at)
	leaf := c.value.Load().Leaf
	if err != nil || leaf.VerifyHostname(u.Hostname()) == nil || len(leaf.DNSNames) == 0 {
		return ""
	}
	return leaf.DNSNames[0]
}

// publicURL is the server's URL for others, name being that of nameAt.
func publicURL(at, name string) string {
	u, err := url.Parse(at)
	if err != nil || name == "" {
		return at
	}
	u.Host = net.JoinHostPort(name, u.Port())
	return u.String()
}

// watch reads the files again when they change.
func (c *natsCertificate) watch(log zerolog.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		return every(ctx, reloadEvery, func() { c.look(log) })
	}
}
