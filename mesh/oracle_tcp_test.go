package mesh

import (
	"net/netip"
	"slices"
)

// addTCP routes opaque bytes: by address where a service or a tcp route has any,
// else by port alone.
func (b *oldBuilder) addTCP(l *oldListener, use *portInUse) {
	byHost := b.tcpRules(use)
	for _, h := range use.hosts {
		if h.protocol != TCP && h.protocol != Unset {
			continue
		}
		table := &l.anyByIP
		if h.protocol == TCP {
			table = &l.tcpByIP
		}
		route := b.ownRoute(h, false)
		for _, r := range byHost[h.host] {
			compiled := &TCPRoute{
				Name:         "default",
				Destinations: b.destinations(r.rule.destinations, r.virtual.namespace, use.number, false),
				Source:       r.rule.source,
			}
			if len(r.subnets) == 0 {
				route = compiled
				break
			}
			for _, subnet := range r.subnets {
				table.add(subnet, compiled)
			}
		}
		for _, prefix := range b.addressesOf(h) {
			table.add(prefix, route)
		}
		b.addByName(l, h, route)
	}
}

// addByName keeps the route of a service without addresses of its own, which is
// known by its name only. A wildcard gives no name.
func (b *oldBuilder) addByName(l *oldListener, h hostOnPort, route *TCPRoute) {
	if h.service.cluster || len(h.service.addresses) > 0 || isWildcard(h.host) {
		return
	}
	l.tcpByName = append(l.tcpByName, NamedTCP{b.cluster(h.host, h.registeredPort, false), route})
	l.bareTCP = l.bareTCP || h.protocol == TCP
}

// tcpRules lists what VirtualServices say about each host on a port, in order.
func (b *oldBuilder) tcpRules(use *portInUse) map[string][]subnetRule {
	byName := make(hostIndex[[]subnetRule])
	for _, v := range b.virtuals {
		if len(v.tcp) == 0 {
			continue
		}
		rules := b.rulesOn(v, use.number)
		for _, written := range v.hosts {
			host, _ := b.visible.resolve(written, v.namespace)
			byName[host] = append(byName[host], rules...)
		}
	}
	out := make(map[string][]subnetRule)
	if len(byName) == 0 {
		return out
	}
	for _, h := range use.hosts {
		rules := slices.Clone(byName[h.host])
		for wildcard := range wildcardsOver(h.host) {
			rules = append(rules, byName[wildcard]...)
		}
		out[h.host] = rules
	}
	return out
}

func (b *oldBuilder) rulesOn(v *virtualService, port uint16) []subnetRule {
	var out []subnetRule
	for i := range v.tcp {
		rule := &v.tcp[i]
		if len(rule.matches) == 0 {
			out = append(out, subnetRule{virtual: v, rule: rule})
		}
		for _, m := range rule.matches {
			if (m.port == 0 || m.port == port) && m.from.takes(b.workload) {
				out = append(out, subnetRule{v, rule, m.subnets})
			}
		}
	}
	return out
}

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
