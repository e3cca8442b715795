package mesh

import (
	"net/netip"
	"slices"
)

// opaqueHost is where opaque bytes for a host go.
type opaqueHost struct {
	route   *TCPRoute
	subnets []subnetRoute // first those to these destinations
}

type subnetRoute struct {
	subnet netip.Prefix
	route  *TCPRoute
}

// opaqueOf is what is derived for a host that declares the port opaque, or leaves it to
// the first bytes.
func (l *Listener) opaqueOf(d *derivation, h hostOnPort) *opaqueHost {
	own, known := l.opaque.get(l.view, h.host)
	if !known {
		of := l.derivation()
		value := l.deriveOpaque(of, h)
		own = l.opaque.put(l.view, h.host, derive(of, value))
	}
	d.names = append(d.names, own.names...)
	return own.value
}

func (l *Listener) deriveOpaque(d *derivation, h hostOnPort) *opaqueHost {
	d.note(h.host)
	out := &opaqueHost{route: d.ownRoute(h, false)}
	for _, r := range l.tcpRules(d, h.host) {
		route := &TCPRoute{
			Name:         "default",
			Destinations: d.destinations(r.rule.destinations, r.virtual.namespace, l.Port, false),
			Source:       r.rule.source,
		}
		if len(r.subnets) == 0 {
			out.route = route
			break
		}
		for _, subnet := range r.subnets {
			out.subnets = append(out.subnets, subnetRoute{subnet, route})
		}
	}
	return out
}

// subnetRule is one alternative of a tcp route that applies to a port.
type subnetRule struct {
	virtual *virtualService
	rule    *tcpRule
	subnets []netip.Prefix // empty: every destination
}

// tcpRules lists what VirtualServices say about a host on the port, in order: those that
// name it, then those of longer and shorter wildcards.
func (l *Listener) tcpRules(d *derivation, host string) []subnetRule {
	var out []subnetRule
	add := func(name string) {
		for _, v := range d.virtualServices(name, func(v *virtualService, _ string) bool { return len(v.tcp) > 0 && d.uses(v) }) {
			out = append(out, l.rulesOn(d, v)...)
		}
	}
	add(host)
	for wildcard := range wildcardsOver(host) {
		add(wildcard)
	}
	return out
}

func (l *Listener) rulesOn(d *derivation, v *virtualService) []subnetRule {
	var out []subnetRule
	for i := range v.tcp {
		rule := &v.tcp[i]
		if len(rule.matches) == 0 {
			out = append(out, subnetRule{virtual: v, rule: rule})
		}
		for _, m := range rule.matches {
			if (m.port == 0 || m.port == l.Port) && m.from.takes(d.workload) {
				out = append(out, subnetRule{v, rule, m.subnets})
			}
		}
	}
	return out
}

// deriveOpaqueAt routes opaque bytes by a range around their destination: to the oldest
// host that has it, or whose tcp routes do.
func (l *Listener) deriveOpaqueAt(d *derivation, prefix netip.Prefix, protocol Protocol) *TCPRoute {
	d.on |= byAddress | bySubnet | byPort
	if len(d.snapshot.subnetted) > 0 {
		d.on |= momentary
	}
	found, at := l.oldestAddressed(d, prefix, func(_ string, p registeredPort) bool { return p.protocol == protocol })
	subnet, some := l.subnetTables().of(protocol)[prefix]
	switch {
	case some && (found == nil || older(subnet.host, found) <= 0):
		return subnet.route
	case found == nil:
		return nil
	}
	return l.opaqueOf(d, hostOnPort{found.host, at}).route
}

func (l *Listener) deriveTCP(d *derivation, prefix netip.Prefix) *TCPRoute {
	return l.deriveOpaqueAt(d, prefix, TCP)
}

func (l *Listener) deriveAny(d *derivation, prefix netip.Prefix) *TCPRoute {
	return l.deriveOpaqueAt(d, prefix, Unset)
}

// subnetTables are the destinations of tcp routes.
type subnetTables struct{ tcp, any map[netip.Prefix]subnetOfHost }

type subnetOfHost struct {
	host  *registered
	route *TCPRoute
}

func (t *subnetTables) of(protocol Protocol) map[netip.Prefix]subnetOfHost {
	if protocol == TCP {
		return t.tcp
	}
	return t.any
}

func (t *subnetTables) has(prefix netip.Prefix) bool {
	_, declared := t.tcp[prefix]
	_, undeclared := t.any[prefix]
	return declared || undeclared
}

var noSubnets subnetTables

func (l *Listener) subnetTables() *subnetTables {
	if len(l.view.snapshot.subnetted) == 0 {
		return &noSubnets
	}
	if t := l.subnets.Load(); t != nil {
		return t
	}
	t := &subnetTables{l.subnetTable(TCP), l.subnetTable(Unset)}
	l.subnets.CompareAndSwap(nil, t)
	return l.subnets.Load()
}

func (l *Listener) subnetTable(protocol Protocol) map[netip.Prefix]subnetOfHost {
	out := make(map[netip.Prefix]subnetOfHost)
	d := l.derivation()
	for _, h := range l.declaredInOrder(d, protocol) {
		for _, s := range l.opaqueOf(d, hostOnPort{h.host, h.port}).subnets {
			if _, taken := out[s.subnet]; !taken {
				out[s.subnet] = subnetOfHost{h.registered, s.route}
			}
		}
	}
	return out
}

type declaredHost struct {
	*registered
	port registeredPort
}

// declaredInOrder lists the hosts that declare the port with one of the protocols, the oldest
// first. That those of other services do not may change with what else they are.
func (l *Listener) declaredInOrder(d *derivation, protocols ...Protocol) []declaredHost {
	var out []declaredHost
	for _, protocol := range protocols {
		for _, s := range d.snapshot.ports.at(portKey(l.Port, protocol)) {
			for _, host := range s.hosts {
				d.note(host)
			}
		}
		for entry, p := range l.declaring(protocol) {
			out = append(out, declaredHost{entry, p})
		}
	}
	slices.SortFunc(out, func(a, b declaredHost) int { return older(a.registered, b.registered) })
	return out
}

// namedTCP are the services without addresses, which are known by their names only.
type namedTCP struct {
	list []NamedTCP // the oldest first
	bare bool       // one of them is declared TCP
}

// opaqueByName lists them. A wildcard gives no name.
func (l *Listener) opaqueByName() *namedTCP {
	if found := l.named.Load(); found != nil && found.holds(l.view) {
		return &found.value
	}
	d, out := l.derivation(), namedTCP{}
	for _, h := range l.declaredInOrder(d, TCP, Unset) {
		if h.port.service.cluster || len(h.port.service.addresses) > 0 || isWildcard(h.host) {
			continue
		}
		route := l.opaqueOf(d, hostOnPort{h.host, h.port}).route
		out.list = append(out.list, NamedTCP{d.cluster(h.host, h.port, false), route})
		out.bare = out.bare || h.port.protocol == TCP
	}
	d.on |= byPort
	list := derive(d, out)
	l.named.Store(list)
	return &list.value
}
