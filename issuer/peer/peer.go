// Package peer finds out who sent a request and which certificate it showed, also when a proxy stands in between.
//
// A proxy that ends TLS tells in headers whom it speaks for, and anybody can send such headers. So they are believed when they come
// from an address that is listed, and removed from every other request. From a listed address:
//
//   - the sender is the last address of X-Forwarded-For that is not listed itself, since each proxy adds whom it heard it from, and
//     what stands before that was written by a stranger;
//   - the certificate is what the configured header says, and nothing else: the one that the proxy itself may have shown to us is
//     not the client's. Two headers, or one that cannot be read, are an error: a proxy that lets through what its clients send, beside or
//     in place of its own, would let everybody be anybody.
//
// The header has one of two forms, and one certificate, that of the client itself:
//
//	Client-Cert: :MIIBqDCCAU6g…:                                           base64 of the DER (RFC 9440 §2.1)
//	X-Client-Cert: -----BEGIN%20CERTIFICATE-----%0AMIIBqDCCAU6g…           PEM in URL encoding: $ssl_client_escaped_cert of nginx
//
// Whatever a proxy says about having verified a certificate is not asked for: who accepts it verifies it.
//
//	proxies, err := peer.New(peer.Config{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/28")}, CertificateHeader: "Client-Cert"})
//	handler = proxies.Handler(handler) // in it, r.RemoteAddr is the sender's, and Certificates(r) what it showed
package peer

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Config says which proxies there are.
type Config struct {
	// Proxies are the addresses of those that are believed. Required; not the whole of an address family.
	Proxies []netip.Prefix
	// CertificateHeader is where they hand on the client's certificate. Empty: nowhere.
	CertificateHeader string
}

// Proxies are proxies that are believed.
type Proxies struct {
	prefixes []netip.Prefix
	header   string // canonical; empty: none
}

const forwardedFor = "X-Forwarded-For"

// New returns proxies.
func New(cfg Config) (*Proxies, error) {
	if len(cfg.Proxies) == 0 {
		return nil, errors.New("proxies: no address")
	}
	p := &Proxies{header: http.CanonicalHeaderKey(cfg.CertificateHeader)}
	for _, prefix := range cfg.Proxies {
		own := unmap(prefix)
		if !own.IsValid() || own.Bits() == 0 {
			return nil, fmt.Errorf("proxies: %s is everybody, or nobody: name the addresses of the proxies", prefix)
		}
		p.prefixes = append(p.prefixes, own)
	}
	if strings.Trim(cfg.CertificateHeader, tokenCharacters) != "" || p.header == forwardedFor || p.header == "Authorization" {
		return nil, fmt.Errorf("proxies: %.40q is not the name of a header for certificates", cfg.CertificateHeader)
	}
	return p, nil
}

// tokenCharacters are those that we accept in the name of a header; RFC 9110 §5.6.2 has a few more that nobody uses.
const tokenCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// unmap turns a prefix of IPv4-mapped addresses into one of IPv4, as the addresses that are compared with it are.
func unmap(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// Handler returns a handler that puts requests right before next sees them.
func (p *Proxies) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, ok := parseAddress(r.RemoteAddr)
		if ok && p.trusts(from) {
			var said forwarded
			if p.header != "" {
				said = forwarded(r.Header.Values(p.header))
			}
			sender := p.sender(from, r.Header.Values(forwardedFor))
			r = r.WithContext(context.WithValue(r.Context(), forwardedKey{}, said))
			r.RemoteAddr = netip.AddrPortFrom(sender, 0).String()
		}
		r.Header.Del(forwardedFor)
		if p.header != "" {
			r.Header.Del(p.header)
		}
		next.ServeHTTP(w, r)
	})
}

// forwarded is what a proxy has handed on: the values of its header.
type forwarded []string

type forwardedKey struct{}

// Certificates returns what the sender showed in TLS, its own certificate first, or nothing. In TLS, or to the proxy, it has proved to
// have the private key; nobody has verified anything else. The error says what is wrong with a proxy's header, and has nothing of it.
func Certificates(r *http.Request) ([]*x509.Certificate, error) {
	if said, ok := r.Context().Value(forwardedKey{}).(forwarded); ok {
		return said.certificates()
	}
	if r.TLS == nil {
		return nil, nil
	}
	return r.TLS.PeerCertificates, nil
}

func (p *Proxies) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(p.prefixes, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}

// sender returns who sent what came from a proxy that is trusted. If what comes next to it cannot be read, it is the proxy.
func (p *Proxies) sender(proxy netip.Addr, headers []string) netip.Addr {
	for _, header := range slices.Backward(headers) {
		for more := true; more; {
			var hop string
			if header, hop, more = cutLast(header); strings.TrimSpace(hop) == "" {
				return proxy
			}
			addr, ok := parseAddress(strings.TrimSpace(hop))
			if !ok {
				return proxy
			}
			if proxy = addr; !p.trusts(addr) {
				return addr
			}
		}
	}
	return proxy
}

// cutLast splits a list before its last element.
func cutLast(list string) (before, last string, more bool) {
	i := strings.LastIndexByte(list, ',')
	return list[:max(i, 0)], list[i+1:], i >= 0
}

// parseAddress reads an address, with or without a port. The zone, which is this machine's business, is left out.
func parseAddress(s string) (netip.Addr, bool) {
	if withPort, err := netip.ParseAddrPort(s); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		s = strings.TrimSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(s)
	return addr.Unmap().WithZone(""), err == nil
}
