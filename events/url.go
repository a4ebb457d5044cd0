package events

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// CheckIssuerURL checks an issuer identifier (RFC 8414 §2): an https URL without query, fragment or user. Plain
// http is for loopback addresses only.
func CheckIssuerURL(what, s string) error { return checkURL(what, s, false) }

func checkURL(what, s string, query bool) error {
	if len(s) > MaxURI || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return fmt.Errorf("%s is not a URL of at most %d bytes of printable ASCII", what, MaxURI) // RFC 3986 §2
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Opaque != "" {
		return fmt.Errorf("%s %s is not a URL", what, quote(s))
	}
	if !query && (u.RawQuery != "" || u.ForceQuery) || u.Fragment != "" || strings.HasSuffix(s, "#") || u.User != nil {
		return fmt.Errorf("%s %s has a query, fragment or user", what, quote(s))
	}
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("%s %s: http is for loopback addresses only, use https", what, quote(s))
	}
	return fmt.Errorf("%s %s is not an https URL", what, quote(s))
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
