package refresh

import (
	"fmt"
	"net/netip"
	"slices"
)

// prefixes of addresses that are not of a server on the internet (the IANA registries of special-purpose addresses, RFC
// 6890). What is not global unicast at all (2000::/3) is refused in IPv6 without being listed.
var special = [...]string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
}

// policy decides which addresses may be connected to.
type policy struct {
	special []netip.Prefix
	global  netip.Prefix // IPv6
	nat64   netip.Prefix
	allow   func(netip.Addr) bool
}

func newPolicy(allow func(netip.Addr) bool) *policy {
	p := &policy{global: netip.MustParsePrefix("2000::/3"), nat64: netip.MustParsePrefix("64:ff9b::/96"), allow: allow}
	for _, s := range special {
		p.special = append(p.special, netip.MustParsePrefix(s))
	}
	return p
}

// check refuses an address that is not public and not allowed. It gets the address that the connection is about to be made to, so
// that a name which says one thing now and another thing later says nothing.
func (p *policy) check(addr netip.Addr) error {
	addr = addr.Unmap()
	if p.allow != nil && p.allow(addr) || p.isPublic(addr) {
		return nil
	}
	return fmt.Errorf("the address %s is not a public one, and not allowed (--jwks-allow)", addr)
}

func (p *policy) isPublic(addr netip.Addr) bool {
	if p.nat64.Contains(addr) { // RFC 6052 §2.1: on a network without IPv4, what it translates to counts
		v6 := addr.As16()
		addr = netip.AddrFrom4([4]byte(v6[12:]))
	}
	if addr.Is6() && !p.global.Contains(addr) || !addr.IsValid() || addr.Zone() != "" {
		return false
	}
	return !slices.ContainsFunc(p.special, func(s netip.Prefix) bool { return s.Contains(addr) })
}
