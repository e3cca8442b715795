package mesh

import "slices"

// addTLS routes a ClientHello by its name to the host it names. That holds on
// ports declared HTTP too, where a client that speaks TLS is passed through. What
// is TLS already is never wrapped again, whatever the DestinationRule says.
func (b *oldBuilder) addTLS(l *oldListener, use *portInUse) {
	byName := make(hostIndex[hostOnPort])
	for _, h := range use.hosts {
		if _, taken := byName[h.host]; !taken && h.protocol != TCP {
			byName[h.host] = h
		}
	}
	rules := b.sniRules(use.number)
	for _, h := range use.hosts {
		if h.protocol != TCP {
			l.addName(h.host, b.nameRoutes(h.host, h, rules))
			b.addHelloAddresses(l, h)
		}
	}
	for host := range rules { // names below a registered wildcard
		if _, exact := byName[host]; exact {
			continue
		}
		if h, ok := byName.find(host); ok {
			l.addName(host, b.nameRoutes(host, hostOnPort{host, h.registeredPort}, rules))
		}
	}
}

// sniRules lists what VirtualServices say about each name on a port, in order.
func (b *oldBuilder) sniRules(port uint16) hostIndex[[]sniRule] {
	out := make(hostIndex[[]sniRule])
	for _, v := range b.virtuals {
		for i := range v.tls {
			for j := range v.tls[i].matches {
				m := &v.tls[i].matches[j]
				if m.port != 0 && m.port != port || !m.from.takes(b.workload) {
					continue
				}
				for _, host := range m.hosts {
					out[host] = append(out[host], sniRule{v, &v.tls[i], m})
				}
			}
		}
	}
	return out
}

// nameRoutes lists a name's routes: of VirtualServices that name it exactly, then
// by longer and shorter wildcards, and last the host itself.
func (b *oldBuilder) nameRoutes(host string, h hostOnPort, rules hostIndex[[]sniRule]) []nameRoute {
	var out []nameRoute
	add := func(list []sniRule) {
		for _, r := range list {
			out = append(out, nameRoute{r.match.subnets, &TCPRoute{
				Name:         "default",
				Destinations: b.destinations(r.rule.destinations, r.virtual.namespace, h.number, true),
				Source:       r.rule.source,
			}})
		}
	}
	if len(rules) > 0 {
		add(rules[host])
		for wildcard := range wildcardsOver(host) {
			add(rules[wildcard])
		}
	}
	all := func(r nameRoute) bool { return len(r.subnets) == 0 }
	if slices.ContainsFunc(out, all) {
		return out
	}
	return append(out, nameRoute{route: b.ownRoute(h, true)})
}

// ownRoute sends to the host itself.
func (b *oldBuilder) ownRoute(h hostOnPort, opaque bool) *TCPRoute {
	return &TCPRoute{
		Name:         "default",
		Destinations: []WeightedCluster{{Cluster: b.cluster(h.host, h.registeredPort, opaque), Weight: 1}},
		Source:       h.service.source,
	}
}

func (b *oldBuilder) addHelloAddresses(l *oldListener, h hostOnPort) {
	addresses := b.addressesOf(h)
	if isWildcard(h.host) || len(addresses) == 0 {
		return // a wildcard without a name says nothing about where to go
	}
	route := b.ownRoute(h, true)
	route.anyName = h.service.cluster
	for _, prefix := range addresses {
		l.helloByIP.add(prefix, route)
	}
}

func (l *oldListener) addName(host string, routes []nameRoute) {
	if isWildcard(host) {
		l.suffixes[host[1:]] = routes
		return
	}
	l.names[host] = routes
}
