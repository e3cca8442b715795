package mesh

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// Listener is the set of services declared on one port number.
type Listener struct {
	Port uint16
	// HTTP and TLS say whether any visible service declares such a protocol here.
	HTTP, TLS bool
	// Unset says whether one leaves it to the first bytes.
	Unset bool

	view  *View
	hosts memo[string, *derived[*VirtualHost]] // exact names, wildcards, and addresses as names
	names memo[string, *derived[[]nameRoute]]  // TLS by SNI: exact names and wildcards
	hello memo[netip.Prefix, *derived[*TCPRoute]]
	tcp   memo[netip.Prefix, *derived[*TCPRoute]] // declared TCP
	any   memo[netip.Prefix, *derived[*TCPRoute]] // undeclared, once the first bytes said neither HTTP nor TLS

	opaque  memo[string, *derived[*opaqueHost]]
	named   atomic.Pointer[derived[namedTCP]]
	subnets atomic.Pointer[subnetTables]
}

// newListener gives nil where no visible service declares the port.
func newListener(v *View, port uint16) *Listener {
	l := &Listener{Port: port, view: v}
	l.HTTP = l.declared(HTTP) || l.declared(HTTP2)
	l.TLS = l.declared(TLS)
	l.Unset = l.declared(Unset)
	if !l.HTTP && !l.TLS && !l.Unset && !l.declared(TCP) {
		return nil
	}
	return l
}

// declared says whether a visible service has the port with a protocol.
func (l *Listener) declared(protocol Protocol) bool {
	for range l.declaring(protocol) {
		return true
	}
	return false
}

// declaring gives the visible hosts that have the port with a protocol.
func (l *Listener) declaring(protocol Protocol) func(func(*registered, registeredPort) bool) {
	return func(yield func(*registered, registeredPort) bool) {
		for _, s := range l.view.snapshot.ports.at(portKey(l.Port, protocol)) {
			for i, host := range s.hosts {
				if slices.Index(s.hosts, host) != i {
					continue // written twice
				}
				entry := l.view.visible(host)
				if entry == nil {
					continue
				}
				if p, ok := entry.on(l.Port); ok && p.service == s && p.protocol == protocol && !yield(entry, p) {
					return
				}
			}
		}
	}
}

func (l *Listener) derivation() *derivation { return &derivation{View: l.view, port: l.Port} }

// A listener is its snapshot's.
func (*Listener) holds(*View) bool     { return true }
func (*Listener) forgotten(*View) bool { return false }

// virtualHost finds the virtual host of a name or a wildcard, exactly that one's.
func (l *Listener) virtualHost(name []byte) *VirtualHost {
	if d, derived := memoBytes(&l.hosts, l.view, name); derived {
		return d.value
	}
	// What strangers ask for is told from what the configuration names without leaving
	// anything behind.
	s := l.view.snapshot
	named := s.names(name)
	short, meant := l.view.abbreviates(name)
	if named = named || meant; !named && !short && !s.zone.mayQualify(name) && !(likeAddress(name) && s.prefixes.count+s.byVirtual.count > 0) {
		return nil
	}
	host, d := string(name), l.derivation()
	vh := l.deriveHost(d, host)
	for full := range l.view.full(host) {
		if vh == nil && (named || short) {
			vh = l.deriveShort(d, full)
		}
	}
	if vh == nil && !named {
		return nil
	}
	return l.hosts.put(l.view, host, derive(d, vh)).value
}

// names says whether a service or a VirtualService has a host by that very name.
func (s *Snapshot) names(host []byte) bool {
	if _, registered := getBytes(&s.hosts, host); registered {
		return true
	}
	_, routed := getBytes(&s.routed.table, host)
	return routed
}

// likeAddress says whether a name may be an address, perhaps in brackets.
func likeAddress(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	last := name[len(name)-1]
	return '0' <= last && last <= '9' || last == ']' || bytes.IndexByte(name, ':') >= 0
}

// addressNamed reads a name that is an address as a Host has it.
func addressNamed(name string) (netip.Addr, bool) {
	if !likeAddress([]byte(name)) {
		return netip.Addr{}, false
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	a, err := netip.ParseAddr(inner)
	return a, err == nil && a.String() == inner && (inner == name || name == "["+inner+"]")
}

// deriveShort makes the virtual host of a short name that means this full one. Below a
// short wildcard there is anything, public names among it: those of a headless service's
// pods are at its addresses.
func (l *Listener) deriveShort(d *derivation, full string) *VirtualHost {
	vh := l.deriveHost(d, full)
	if vh == nil || !isWildcard(full) {
		return vh
	}
	below := *vh
	if entry := d.visible(full); entry != nil {
		if p, ok := entry.on(l.Port); ok {
			below.within = p.service.addresses
		}
	}
	return &below
}

// deriveHost makes the virtual host of what may be asked for in HTTP: of a registered
// host, of one that has the address, the oldest; else of a VirtualService's host that
// no service has by that very name.
func (l *Listener) deriveHost(d *derivation, name string) *VirtualHost {
	if !l.HTTP && !l.Unset {
		return nil
	}
	d.note(name)
	entry := d.visible(name)
	var found *registered
	var at registeredPort
	if entry != nil {
		if p, ok := entry.on(l.Port); ok && p.speaksHTTP() {
			found, at = entry, p
		}
	}
	if a, ok := addressNamed(name); ok {
		d.on |= byAddress
		other, p := l.oldestAddressed(d, netip.PrefixFrom(a, a.BitLen()), func(_ string, p registeredPort) bool { return p.speaksHTTP() })
		if other != nil && (found == nil || older(other, found) < 0) {
			found, at = other, p
		}
	}
	if found != nil {
		return l.routes(d, found.host, at)
	}
	if entry != nil || d.httpFor(name) == nil {
		return nil
	}
	return l.unregistered(d, name)
}

// unregistered makes a virtual host of a VirtualService's host that no service
// has by that very name: one below a registered wildcard, on the wildcard's ports;
// one that nobody registers, wherever HTTP is spoken, as Istio does.
func (l *Listener) unregistered(d *derivation, name string) *VirtualHost {
	if below := d.find(d.visible, name); below != nil {
		if p, ok := below.on(l.Port); ok && p.speaksHTTP() {
			return l.routes(d, name, p)
		}
		return nil
	}
	if d.over(name) {
		return nil
	}
	if vh := l.routes(d, name, registeredPort{}); len(vh.Routes) > 0 {
		return vh
	}
	return nil
}

// over says whether a wildcard is over a host that the workload may ask for.
func (v *View) over(wildcard string) bool {
	if _, some := v.snapshot.parents.get(wildcard); !some {
		return false
	}
	for name := range v.snapshot.hosts.all() {
		if name != wildcard && strings.HasSuffix(strings.TrimPrefix(name, "*"), wildcard[1:]) && v.visible(name) != nil {
			return true
		}
	}
	return false
}

// addressed gives the hosts of which connections to an address or a range are: of
// services that have it on this port, and of one that has it as a virtual address.
func (l *Listener) addressed(d *derivation, prefix netip.Prefix, f func(*registered, registeredPort)) {
	s := l.view.snapshot
	for _, service := range s.prefixes.at(prefix) {
		for i, host := range service.hosts {
			if d.note(host); slices.Index(service.hosts, host) != i {
				continue
			}
			if entry := d.visible(host); entry != nil {
				if p, ok := entry.on(l.Port); ok && p.service == service {
					f(entry, p)
				}
			}
		}
	}
	host := s.byVirtual.at(prefix.Addr())
	if host == "" || !prefix.IsSingleIP() {
		return
	}
	d.note(host)
	if entry := d.visible(host); entry != nil {
		if p, ok := entry.on(l.Port); ok && len(p.service.addresses) == 0 && slices.Contains(d.virtualOf(entry), prefix.Addr()) {
			f(entry, p)
		}
	}
}

// oldestAddressed finds the oldest of these hosts that will do, nil for none.
func (l *Listener) oldestAddressed(d *derivation, prefix netip.Prefix, will func(host string, p registeredPort) bool) (found *registered, at registeredPort) {
	l.addressed(d, prefix, func(entry *registered, p registeredPort) {
		if will(entry.host, p) && (found == nil || older(entry, found) < 0) {
			found, at = entry, p
		}
	})
	return found, at
}

// routes lists the routes of a host in order: those of the VirtualService
// that names it most exactly, else one to the host itself, if a service has it. A
// VirtualService of which nothing is for this port and workload is as good as none, as
// in Istio.
func (l *Listener) routes(d *derivation, host string, p registeredPort) *VirtualHost {
	d.note(host)
	vh := &VirtualHost{Host: host}
	v := d.httpFor(host)
	for wildcard := range wildcardsOver(host) {
		if v != nil {
			break
		}
		v = d.httpFor(wildcard)
	}
	if v != nil {
		l.addRoutes(d, vh, v)
	}
	if len(vh.Routes) == 0 && p.service != nil {
		vh.Routes = []*HTTPRoute{{
			Name:         "default",
			Action:       plainAction,
			Destinations: []WeightedCluster{{Cluster: d.cluster(host, p, false), Weight: 1}},
			Source:       p.service.source,
		}}
	}
	return vh
}

func (l *Listener) addRoutes(d *derivation, vh *VirtualHost, v *virtualService) {
	for i := range v.http {
		rule := &v.http[i]
		matches, ok := matchesOn(rule.matches, l.Port, d.workload)
		if !ok {
			continue
		}
		for i := range matches {
			vh.effort.add(&matches[i])
		}
		vh.Routes = append(vh.Routes, &HTTPRoute{
			Name:         rule.name,
			Match:        matches,
			Action:       rule.action,
			Destinations: d.destinations(rule.leads(vh.Host), v.namespace, l.Port, false),
			Source:       rule.source,
		})
	}
}

// leads lists where the rule's requests go: nowhere where it answers by itself, and
// without destinations to the host that was asked for.
func (rule *httpRule) leads(asked string) []destination {
	if len(rule.destinations) > 0 || rule.action.Answer != nil {
		return rule.destinations
	}
	return []destination{{host: asked, weight: 1, edits: rule.action.Edits}}
}

// speaksHTTP says whether what is sent to a port may be HTTP.
func (p registeredPort) speaksHTTP() bool { return p.protocol != TLS && p.protocol != TCP }

// matchesOn leaves out the alternatives of other ports and other workloads; false when
// none is left.
func matchesOn(all []HTTPMatch, port uint16, w Workload) ([]HTTPMatch, bool) {
	fits := func(m *HTTPMatch) bool { return (m.Port == 0 || m.Port == port) && m.from.takes(w) }
	n := 0
	for i := range all {
		if fits(&all[i]) {
			n++
		}
	}
	if n == len(all) {
		return all, true
	}
	out := make([]HTTPMatch, 0, n)
	for i := range all {
		if fits(&all[i]) {
			out = append(out, all[i])
		}
	}
	return out, n > 0
}
