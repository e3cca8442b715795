package proxy

import (
	"fmt"
	"net/netip"

	"github.com/sluice-cni/sluice/mesh"
)

// UnsafeRanges are addresses that DNS may not lead to by default: loopback, "this
// network", link-local (where clouds keep their metadata servers), multicast and
// broadcast. Whoever owns a registered name, or one below a registered wildcard,
// could otherwise aim the proxy's sockets at what stands next to it (DNS
// rebinding).
func UnsafeRanges() []netip.Prefix {
	var out []netip.Prefix
	for _, text := range []string{
		"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32",
		"::/128", "::1/128", "fe80::/10", "ff00::/8",
	} {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// unsafe says that DNS may not lead to an address. One that the ServiceEntry lists
// itself may always be used.
func (s *Server) unsafe(c *mesh.Cluster, addr netip.Addr) bool {
	within := embedded4(addr)
	for _, p := range s.cfg.UnsafeRanges {
		if p.Contains(addr) || p.Contains(within) {
			return !listed(c, addr)
		}
	}
	return false
}

// safe leaves out the addresses that DNS may not lead to.
func (s *Server) safe(c *mesh.Cluster, name string, addrs []netip.Addr) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, a := range addrs {
		if !s.unsafe(c, a) {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, unsafeError(name, addrs[0])
	}
	return out, nil
}

func unsafeError(name string, addr netip.Addr) error {
	return fmt.Errorf("%w: %s is %s", errUnsafe, name, addr)
}

// embedded4 is the IPv4 address that a NAT64 gateway would make of an IPv6 one
// (RFC 6052 §2.1, the well-known prefix), or that is written as IPv6.
func embedded4(addr netip.Addr) netip.Addr {
	if addr.Is4In6() {
		return addr.Unmap()
	}
	if !addr.Is6() || !nat64.Contains(addr) {
		return addr
	}
	b := addr.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96")
