package mesh

import (
	"net/netip"
	"slices"
)

// nameRoute is a route of an SNI, perhaps for some destinations only.
type nameRoute struct {
	subnets []netip.Prefix
	route   *TCPRoute
}

// sniRule is one alternative of a tls route that applies to a port.
type sniRule struct {
	virtual *virtualService
	rule    *tlsRule
	match   *tlsMatch
}

// serverName finds the routes of a server name or a wildcard, exactly that one's; nil is
// none.
func (l *Listener) serverName(name []byte) []nameRoute {
	if d, derived := memoBytes(&l.names, l.view, name); derived {
		return d.value
	}
	s := l.view.snapshot
	_, registered := getBytes(&s.hosts, name)
	if _, routed := getBytes(&s.sni.table, name); !registered && !routed {
		return nil
	}
	host, d := string(name), l.derivation()
	routes := l.deriveName(d, host)
	return l.names.put(l.view, host, derive(d, routes)).value
}

// deriveName routes a ClientHello by its name to the host it names, or to where tls
// routes of a name below a registered wildcard lead. That holds on ports declared HTTP
// too, where a client that speaks TLS is passed through. What is TLS already is never
// wrapped again, whatever the DestinationRule says.
func (l *Listener) deriveName(d *derivation, host string) []nameRoute {
	d.note(host)
	if p, ok := l.helloPort(d, host); ok {
		return l.nameRoutes(d, hostOnPort{host, p})
	}
	if len(l.sniRules(d, host)) == 0 {
		return nil
	}
	for wildcard := range wildcardsOver(host) {
		if p, ok := l.helloPort(d, wildcard); ok {
			return l.nameRoutes(d, hostOnPort{host, p})
		}
	}
	return nil
}

// helloPort is what a host declares on the port, unless that is opaque.
func (l *Listener) helloPort(d *derivation, host string) (registeredPort, bool) {
	entry := d.visible(host)
	if entry == nil {
		return registeredPort{}, false
	}
	p, ok := entry.on(l.Port)
	return p, ok && p.protocol != TCP
}

// sniRules lists what VirtualServices say about a name on the port, in order.
func (l *Listener) sniRules(d *derivation, name string) []sniRule {
	var out []sniRule
	for _, v := range d.snapshot.sni.at(name) {
		if !d.uses(v) {
			continue
		}
		for i := range v.tls {
			for j := range v.tls[i].matches {
				m := &v.tls[i].matches[j]
				if (m.port == 0 || m.port == l.Port) && m.from.takes(d.workload) && slices.Contains(m.hosts, name) {
					out = append(out, sniRule{v, &v.tls[i], m})
				}
			}
		}
	}
	return out
}

// nameRoutes lists a name's routes: of VirtualServices that name it exactly, then
// by longer and shorter wildcards, and last the host itself.
func (l *Listener) nameRoutes(d *derivation, h hostOnPort) []nameRoute {
	var out []nameRoute
	add := func(list []sniRule) {
		for _, r := range list {
			out = append(out, nameRoute{r.match.subnets, &TCPRoute{
				Name:         "default",
				Destinations: d.destinations(r.rule.destinations, r.virtual.namespace, h.number, true),
				Source:       r.rule.source,
			}})
		}
	}
	if d.snapshot.sni.count > 0 {
		add(l.sniRules(d, h.host))
		for wildcard := range wildcardsOver(h.host) {
			add(l.sniRules(d, wildcard))
		}
	}
	all := func(r nameRoute) bool { return len(r.subnets) == 0 }
	if slices.ContainsFunc(out, all) {
		return out
	}
	return append(out, nameRoute{route: d.ownRoute(h, true)})
}

// ownRoute sends to the host itself.
func (d *derivation) ownRoute(h hostOnPort, opaque bool) *TCPRoute {
	return &TCPRoute{
		Name:         "default",
		Destinations: []WeightedCluster{{Cluster: d.cluster(h.host, h.registeredPort, opaque), Weight: 1}},
		Source:       h.service.source,
	}
}

// deriveHello routes a ClientHello without a name to the host that has the address. A
// wildcard without a name says nothing about where to go.
func (l *Listener) deriveHello(d *derivation, prefix netip.Prefix) *TCPRoute {
	d.on |= byAddress
	found, at := l.oldestAddressed(d, prefix, func(host string, p registeredPort) bool { return p.protocol != TCP && !isWildcard(host) })
	if found == nil {
		return nil
	}
	route := d.ownRoute(hostOnPort{found.host, at}, true)
	route.anyName = at.service.cluster
	return route
}
