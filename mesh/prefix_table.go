package mesh

import (
	"net/netip"
	"slices"
)

// prefixTable finds the longest range that holds an address.
type prefixTable struct {
	routes  map[netip.Prefix]*TCPRoute
	lengths []uint8 // those in use, IPv4 and IPv6 together, the longest first
}

// add keeps the first route of a range.
func (t *prefixTable) add(prefix netip.Prefix, route *TCPRoute) {
	if t.routes == nil {
		t.routes = make(map[netip.Prefix]*TCPRoute)
	}
	if t.routes[prefix] != nil {
		return
	}
	t.routes[prefix] = route
	bits := uint8(prefix.Bits())
	at, found := slices.BinarySearchFunc(t.lengths, bits, func(a, b uint8) int { return int(b) - int(a) })
	if !found {
		t.lengths = slices.Insert(t.lengths, at, bits)
	}
}

// find gives the route of the longest range around an address, nil without one.
func (t *prefixTable) find(addr netip.Addr) *TCPRoute {
	addr = addr.Unmap()
	for _, bits := range t.lengths {
		if int(bits) > addr.BitLen() {
			continue
		}
		prefix, err := addr.Prefix(int(bits))
		if err != nil {
			return nil
		}
		if route := t.routes[prefix]; route != nil {
			return route
		}
	}
	return nil
}
