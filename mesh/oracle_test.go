package mesh

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/vip"
)

// oldSnapshot builds whole views at once, as all of them once were built: what an index
// and views that are derived bit by bit say is compared with what it says.
type oldSnapshot struct {
	policy    OutboundPolicy
	root      string
	services  []*service
	virtuals  []*virtualService
	rules     ruleIndex
	sidecars  []*sidecar
	selectors selectors
	virtual   map[string][]netip.Addr
	clusters  map[clusterKey]*Cluster
}

func buildOld(places []Place, opts Options) *oldSnapshot {
	if opts.RootNamespace == "" {
		opts.RootNamespace = "istio-system"
	}
	s := &oldSnapshot{policy: opts.Policy, root: opts.RootNamespace, rules: make(ruleIndex), selectors: make(selectors), clusters: make(map[clusterKey]*Cluster)}
	for _, p := range places {
		s.add(p)
	}
	s.assignVirtual(opts.Virtual)
	return s
}

func (s *oldSnapshot) view(w Workload) *oldView {
	other := &Snapshot{root: s.root, sidecars: s.sidecars}
	return s.newView(oldKey{w.Namespace, other.sidecarFor(w)}, w)
}

type oldKey struct {
	namespace string
	sidecar   *sidecar
}

func (s *oldSnapshot) cluster(key clusterKey, port servicePort) *Cluster {
	if s.clusters[key] == nil {
		s.clusters[key] = newCluster(key, port)
	}
	return s.clusters[key]
}

type oldView struct {
	Policy    OutboundPolicy
	listeners map[uint16]*oldListener
	names     hostIndex[*Name]
	byVirtual map[netip.Addr]string
}

type oldListener struct {
	Port             uint16
	HTTP, TLS, Unset bool

	hosts     map[string]*VirtualHost
	wildcards map[string]*VirtualHost
	names     map[string][]nameRoute
	suffixes  map[string][]nameRoute
	helloByIP prefixTable
	tcpByIP   prefixTable
	anyByIP   prefixTable
	tcpByName []NamedTCP
	bareTCP   bool
}

type oldRegistry struct {
	hosts   hostIndex[*registered]
	order   []*registered
	parents map[string]struct{}
}

func (v *oldView) Ports() []uint16 { return slices.Sorted(maps.Keys(v.listeners)) }

// add puts a resource's compiled form where it belongs.
func (s *oldSnapshot) add(p Place) {
	switch c := compile(p).(type) {
	case *service:
		s.services = append(s.services, c)
	case *virtualService:
		s.virtuals = append(s.virtuals, c)
		for _, from := range c.selectors {
			s.selectors.add(from)
		}
	case *rule:
		s.rules.add(p.Resource.Namespace, c)
		s.selectors.add(c.selector)
	case *sidecar:
		s.sidecars = append(s.sidecars, c)
	}
}

// ruleIndex finds the rules of each namespace by full host, the oldest first.
type ruleIndex map[string]hostIndex[[]*rule]

func (x ruleIndex) add(namespace string, r *rule) {
	if x[namespace] == nil {
		x[namespace] = make(hostIndex[[]*rule])
	}
	host := qualify(r.host, namespace)
	x[namespace][host] = append(x[namespace][host], r)
}

// find gives the rules for a host that a workload calls and some namespace registers:
// the workload's own namespace decides before the service's, and that before the root;
// within a namespace the most specific host does, and for one host the rules that
// select the workload before those for all. There are several where they are merged:
// see followed and subsetOf.
func (x ruleIndex) find(host string, w Workload, service, root string) []*rule {
	for _, namespace := range []string{w.Namespace, service, root} {
		byHost := x[namespace]
		if byHost == nil {
			continue
		}
		if found := rulesFollowed(w, byHost[qualify(host, namespace)]); found != nil {
			return found
		}
		for wildcard := range wildcardsOver(host) {
			if found := rulesFollowed(w, byHost[wildcard]); found != nil {
				return found
			}
		}
	}
	return nil
}

// newView builds the view of all workloads that have the key; w is any of them.
func (s *oldSnapshot) newView(key oldKey, w Workload) *oldView {
	v := &oldView{Policy: s.policy, listeners: make(map[uint16]*oldListener)}
	if key.sidecar != nil && key.sidecar.policy != nil {
		v.Policy = *key.sidecar.policy
	}
	b := &oldBuilder{
		snapshot:  s,
		namespace: key.namespace,
		workload:  w,
		visible:   newOldRegistry(),
		reachable: newOldRegistry(),
		byHost:    make(hostIndex[*virtualService]),
		unknown:   make(map[string]*Cluster),
	}
	b.selectServices(key.sidecar)
	b.selectVirtualServices(key.sidecar)
	b.addNames(v)
	for _, port := range b.portsInUse() {
		v.listeners[port.number] = b.listener(port)
	}
	return v
}

// oldBuilder holds what one view is made of while it is made.
type oldBuilder struct {
	snapshot  *oldSnapshot
	namespace string
	workload  Workload     // asked by selectors only, which tell those with the view's key not apart
	visible   *oldRegistry // what the workload may ask for
	reachable *oldRegistry // what routes may send to: exported, imported or not
	virtuals  []*virtualService
	byHost    hostIndex[*virtualService] // those with HTTP routes
	inexact   []string                   // hosts of byHost that no service has by that very name
	unknown   map[string]*Cluster
}

func (b *oldBuilder) selectServices(c *sidecar) {
	for _, s := range b.snapshot.services {
		if !s.scope.includes(b.namespace) {
			continue
		}
		for _, host := range s.hosts {
			b.reachable.add(s, host)
			if c.sees(b.namespace, s.namespace, host, covers) {
				b.visible.add(s, host)
			}
		}
	}
}

func (b *oldBuilder) selectVirtualServices(c *sidecar) {
	for _, v := range b.snapshot.virtuals {
		if !v.scope.includes(b.namespace) {
			continue
		}
		used := false
		for _, written := range v.hosts {
			if !c.sees(b.namespace, v.namespace, written, overlap) {
				continue
			}
			used = true
			host, _ := b.visible.resolve(written, v.namespace)
			if len(v.http) == 0 || b.byHost[host] != nil {
				continue
			}
			b.byHost[host] = v
			if _, exact := b.visible.hosts[host]; !exact {
				b.inexact = append(b.inexact, host)
			}
		}
		if used {
			b.virtuals = append(b.virtuals, v)
		}
	}
}

// portInUse is a port number and the hosts registered there, the oldest first.
type portInUse struct {
	number uint16
	hosts  []hostOnPort
}

func (b *oldBuilder) portsInUse() []*portInUse {
	var out []*portInUse
	byNumber := make(map[uint16]*portInUse)
	for _, entry := range b.visible.order {
		for _, p := range entry.ports {
			use := byNumber[p.number]
			if use == nil {
				use = &portInUse{number: p.number}
				byNumber[p.number] = use
				out = append(out, use)
			}
			use.hosts = append(use.hosts, hostOnPort{entry.host, p})
		}
	}
	return out
}

// cluster is the cluster of a host on one of its ports, under the rule that this
// view's workloads follow.
func (b *oldBuilder) cluster(host string, p registeredPort, opaque bool) *Cluster {
	return b.subsetCluster(host, p, "", opaque)
}

// subsetCluster is that of a subset; nil where no rule has one of that name.
func (b *oldBuilder) subsetCluster(host string, p registeredPort, subset string, opaque bool) *Cluster {
	s := b.snapshot
	rules := s.rules.find(host, b.workload, p.service.namespace, s.root)
	key := clusterKey{service: p.service, host: host, port: p.number, rule: followed(rules), opaque: opaque}
	if subset != "" {
		if key.subset = subsetOf(rules, subset); key.subset == nil {
			return nil
		}
	}
	return s.cluster(key, p.servicePort)
}

// destinations looks up where a rule sends to.
func (b *oldBuilder) destinations(list []destination, namespace string, port uint16, opaque bool) []WeightedCluster {
	out := make([]WeightedCluster, len(list))
	for i, d := range list {
		out[i] = WeightedCluster{Cluster: b.destination(d, namespace, port, opaque), Weight: d.weight, Edits: d.edits}
	}
	return out
}

func (b *oldBuilder) destination(d destination, namespace string, asked uint16, opaque bool) *Cluster {
	host, entry := b.reachable.resolve(d.host, namespace)
	number := asked
	switch {
	case d.port != 0:
		number = d.port
	case entry != nil && len(entry.ports) == 1:
		number = entry.ports[0].number
	}
	if entry != nil {
		if p, ok := entry.on(number); ok {
			if c := b.subsetCluster(host, p, d.subset, opaque); c != nil {
				return c
			}
		}
	}
	name := clusterName(host, number, d.subset)
	if b.unknown[name] == nil {
		b.unknown[name] = unknownCluster(host, number, d.subset)
	}
	return b.unknown[name]
}

func newOldRegistry() *oldRegistry {
	return &oldRegistry{hosts: make(hostIndex[*registered]), parents: make(map[string]struct{})}
}

func (g *oldRegistry) add(s *service, host string) {
	entry := g.hosts[host]
	if entry == nil {
		entry = &registered{host: host}
		g.hosts[host] = entry
		g.order = append(g.order, entry)
		for wildcard := range wildcardsOver(host) {
			g.parents[wildcard] = struct{}{}
		}
	}
	entry.services = append(entry.services, s)
	for _, p := range s.ports {
		if _, taken := entry.on(p.number); !taken {
			entry.ports = append(entry.ports, registeredPort{p, s})
		}
	}
}

// resolve finds a host that a resource in a namespace names: as written, else as
// the full name of a short one. It gives the name that was found, which is more
// exact than the entry's where that is a wildcard.
func (g *oldRegistry) resolve(host, namespace string) (string, *registered) {
	if entry, ok := g.hosts.find(host); ok {
		return host, entry
	}
	full := qualify(host, namespace)
	if entry, ok := g.hosts.find(full); ok {
		return full, entry
	}
	return host, nil
}

// knows says whether any name of a host, or under it, is registered.
func (g *oldRegistry) knows(host string) bool {
	if _, ok := g.hosts.find(host); ok {
		return true
	}
	_, ok := g.parents[host]
	return ok
}

// listener puts together all that is declared on one port.
func (b *oldBuilder) listener(use *portInUse) *oldListener {
	l := &oldListener{
		Port:      use.number,
		hosts:     make(map[string]*VirtualHost),
		wildcards: make(map[string]*VirtualHost),
		names:     make(map[string][]nameRoute),
		suffixes:  make(map[string][]nameRoute),
	}
	for _, h := range use.hosts {
		l.HTTP = l.HTTP || h.protocol == HTTP || h.protocol == HTTP2
		l.TLS = l.TLS || h.protocol == TLS
		l.Unset = l.Unset || h.protocol == Unset
	}
	b.addHTTP(l, use)
	b.addTLS(l, use)
	b.addTCP(l, use)
	return l
}

// addHTTP makes a virtual host of every host that may be asked for in HTTP.
func (b *oldBuilder) addHTTP(l *oldListener, use *portInUse) {
	if !l.HTTP && !l.Unset {
		return
	}
	for _, h := range use.hosts {
		if h.protocol == TLS || h.protocol == TCP {
			continue
		}
		vh := b.virtualHost(h.host, h, use.number)
		l.addVirtualHost(h.host, vh)
		for _, prefix := range b.addressesOf(h) {
			if prefix.IsSingleIP() {
				l.addVirtualHost(prefix.Addr().String(), vh)
				l.addVirtualHost("["+prefix.Addr().String()+"]", vh)
			}
		}
	}
	for _, host := range b.inexact {
		b.addUnregistered(l, use, host)
	}
}

// addUnregistered makes a virtual host of a VirtualService's host that no service
// has by that very name: one below a registered wildcard, on the wildcard's ports;
// one that nobody registers, wherever HTTP is spoken, as Istio does.
func (b *oldBuilder) addUnregistered(l *oldListener, use *portInUse, host string) {
	entry, below := b.visible.hosts.find(host)
	if !below {
		if !b.visible.knows(host) {
			if vh := b.virtualHost(host, hostOnPort{}, use.number); len(vh.Routes) > 0 {
				l.addVirtualHost(host, vh)
			}
		}
		return
	}
	p, ok := entry.on(use.number)
	if ok && p.protocol != TLS && p.protocol != TCP {
		l.addVirtualHost(host, b.virtualHost(host, hostOnPort{host, p}, use.number))
	}
}

func (l *oldListener) addVirtualHost(host string, vh *VirtualHost) {
	table := l.hosts
	if isWildcard(host) {
		table, host = l.wildcards, host[1:]
	}
	if table[host] == nil {
		table[host] = vh
	}
}

// virtualHost lists the routes of a host in order: those of the VirtualService
// that names it most exactly, else one to the host itself. A VirtualService of which
// nothing is for this port and workload is as good as none, as in Istio.
func (b *oldBuilder) virtualHost(host string, h hostOnPort, port uint16) *VirtualHost {
	vh := &VirtualHost{Host: host}
	if v, ok := b.byHost.find(host); ok {
		b.addRoutes(vh, v, port)
	}
	if len(vh.Routes) == 0 && h.service != nil {
		vh.Routes = []*HTTPRoute{{
			Name:         "default",
			Action:       plainAction,
			Destinations: []WeightedCluster{{Cluster: b.cluster(host, h.registeredPort, false), Weight: 1}},
			Source:       h.service.source,
		}}
	}
	return vh
}

func (b *oldBuilder) addRoutes(vh *VirtualHost, v *virtualService, port uint16) {
	for i := range v.http {
		rule := &v.http[i]
		matches, ok := matchesOn(rule.matches, port, b.workload)
		if !ok {
			continue
		}
		vh.Routes = append(vh.Routes, &HTTPRoute{
			Name:         rule.name,
			Match:        matches,
			Action:       rule.action,
			Destinations: b.destinations(rule.leads(vh.Host), v.namespace, port, false),
			Source:       rule.source,
		})
	}
}

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
	if len(h.service.addresses) > 0 || isWildcard(h.host) {
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

// assignVirtual asks for the virtual addresses of all hosts that want some.
func (s *oldSnapshot) assignVirtual(assign func([]string) map[string][]netip.Addr) {
	if assign == nil {
		return
	}
	var hosts []string
	for _, service := range s.services {
		if !service.wantsVirtual() {
			continue
		}
		for _, host := range service.hosts {
			if !isWildcard(host) {
				hosts = append(hosts, host)
			}
		}
	}
	slices.Sort(hosts)
	s.virtual = assign(slices.Compact(hosts))
}

// virtualOf gives a host's virtual addresses in this view. A host that some visible
// service gives addresses to has none: it is answered with those.
func (b *oldBuilder) virtualOf(host string) []netip.Addr {
	entry := b.visible.hosts[host]
	if entry == nil || len(b.snapshot.virtual) == 0 || !slices.ContainsFunc(entry.services, (*service).wantsVirtual) ||
		slices.ContainsFunc(entry.services, func(s *service) bool { return len(s.addresses) > 0 }) {
		return nil
	}
	return b.snapshot.virtual[host]
}

// addressesOf are the addresses that say by themselves that a connection is for a
// host: its service's, else the virtual ones.
func (b *oldBuilder) addressesOf(h hostOnPort) []netip.Prefix {
	if len(h.service.addresses) > 0 || len(b.snapshot.virtual) == 0 {
		return h.service.addresses
	}
	var out []netip.Prefix
	for _, a := range b.virtualOf(h.host) {
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}

// Name finds a name, in lower case and without trailing dot: exactly, else by the
// longest wildcard. nil means that nothing visible registers it. A host that only a
// VirtualService has is registered too: it may be asked for.
func (v *oldView) Name(name string) *Name {
	if len(name) > maxHostLength {
		return nil
	}
	n, _ := v.names.find(name)
	return n
}

// HostAt finds the host that has a virtual address, "" for none.
func (v *oldView) HostAt(a netip.Addr) string { return v.byVirtual[a.Unmap()] }

func (b *oldBuilder) addNames(v *oldView) {
	v.names = make(hostIndex[*Name], len(b.visible.order))
	v.byVirtual = make(map[netip.Addr]string)
	for _, entry := range b.visible.order {
		n := &Name{Host: entry.host, Addresses: ownAddresses(entry)}
		if len(n.Addresses) == 0 {
			n.Addresses = b.virtualOf(entry.host)
			n.Virtual = len(n.Addresses) > 0
		}
		v.names[entry.host] = n
		if n.Virtual {
			for _, a := range n.Addresses {
				v.byVirtual[a] = entry.host
			}
		}
	}
	for _, virtual := range b.virtuals {
		for _, written := range virtual.hosts {
			host, _ := b.visible.resolve(written, virtual.namespace)
			if v.names[host] == nil {
				v.names[host] = &Name{Host: host}
			}
		}
	}
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

// MatchHTTP finds the virtual host that a request names: exactly, else by the
// longest wildcard. host comes in lower case, without port and trailing dot; an
// address is a name like any other. nil means that nobody registers it here. It
// allocates nothing.
func (l *oldListener) MatchHTTP(host []byte) *VirtualHost {
	if len(host) > maxHostLength {
		return nil
	}
	if vh := l.hosts[string(host)]; vh != nil {
		return vh
	}
	if len(l.wildcards) == 0 {
		return nil
	}
	for i := 1; i < len(host); i++ {
		if host[i] != '.' {
			continue
		}
		if vh := l.wildcards[string(host[i:])]; vh != nil {
			return vh
		}
	}
	return nil
}

// MatchTLS finds the route of a connection that opened with a ClientHello: by its
// name, in lower case and without trailing dot, or without one by its destination.
// nil means that nobody registers it here. Clusters it leads to carry no TLS
// settings: what is TLS already goes through as it is. It allocates nothing.
func (l *oldListener) MatchTLS(sni string, dst netip.Addr) *TCPRoute {
	if sni == "" {
		return l.helloByIP.find(dst)
	}
	if len(sni) > maxHostLength {
		return nil
	}
	if routes, ok := l.names[sni]; ok {
		return routeTo(routes, dst)
	}
	if len(l.suffixes) == 0 {
		return nil
	}
	for i := 1; i < len(sni); i++ {
		if sni[i] != '.' {
			continue
		}
		if routes, ok := l.suffixes[sni[i:]]; ok {
			return routeTo(routes, dst)
		}
	}
	return nil
}

// MatchTCP finds the route of opaque bytes: by the longest range around their
// destination, else the oldest service that declares the port without addresses.
// For the latter CandidatesTCP has all there are. A virtual address is its host's
// only. It allocates nothing.
func (l *oldListener) MatchTCP(dst netip.Addr) *TCPRoute {
	if route := l.AddressedTCP(dst); route != nil {
		return route
	}
	if candidates := l.CandidatesTCP(dst); len(candidates) > 0 {
		return candidates[0].Route
	}
	return nil
}

// AddressedTCP finds the route of opaque bytes by their destination alone.
func (l *oldListener) AddressedTCP(dst netip.Addr) *TCPRoute {
	if route := l.tcpByIP.find(dst); route != nil {
		return route
	}
	return l.anyByIP.find(dst)
}

// CandidatesTCP lists the services that declare the port without addresses, the
// oldest first. They can be told apart by what their hosts resolve to; nothing
// resolves to a virtual address. The caller must not change the list.
func (l *oldListener) CandidatesTCP(dst netip.Addr) []NamedTCP {
	if len(l.tcpByName) == 0 || vip.Contains(dst) {
		return nil
	}
	return l.tcpByName
}

// DeclaredTCP says that a destination is opaque by declaration, so that nobody
// waits for the client's first bytes: in many protocols the server speaks first.
func (l *oldListener) DeclaredTCP(dst netip.Addr) bool {
	if l.tcpByIP.find(dst) != nil {
		return true
	}
	return l.bareTCP && !l.HTTP && !l.TLS && !l.Unset && !vip.Contains(dst)
}

// Ways gives the ways through a view that are wanted, by port, traffic and host; those
// of one host stand in the order in which they are tried. wanted is asked of a port and a
// host before anything is made of them.
func (v *oldView) Ways(wanted func(port uint16, host string) bool) iter.Seq[Way] {
	return func(yield func(Way) bool) {
		for _, port := range v.Ports() {
			l := v.listeners[port]
			wants := func(host string) bool { return wanted(port, host) }
			if !l.httpWays(wants, yield) || !l.tlsWays(wants, yield) || !l.tcpWays(wants, yield) {
				return
			}
		}
	}
}

// byHost goes through exact names, then wildcards, each in order, until f says false.
func byHost[T any](exact, wildcards map[string]T, f func(host string, of T) bool) bool {
	for _, key := range slices.Sorted(maps.Keys(exact)) {
		if !f(key, exact[key]) {
			return false
		}
	}
	for _, key := range slices.Sorted(maps.Keys(wildcards)) {
		if !f("*"+key, wildcards[key]) {
			return false
		}
	}
	return true
}

// httpWays leaves out the addresses of a host that can be asked for by name.
func (l *oldListener) httpWays(wanted func(string) bool, yield func(Way) bool) bool {
	return byHost(l.hosts, l.wildcards, func(host string, vh *VirtualHost) bool {
		if host != vh.Host && (l.hosts[vh.Host] == vh || host[0] == '[') || !wanted(host) {
			return true
		}
		for _, route := range vh.Routes {
			if !yield(Way{Port: l.Port, Traffic: HTTPTraffic, Host: host, HTTP: route}) {
				return false
			}
		}
		return true
	})
}

func (l *oldListener) tlsWays(wanted func(string) bool, yield func(Way) bool) bool {
	return byHost(l.names, l.suffixes, func(host string, routes []nameRoute) bool {
		if !wanted(host) {
			return true
		}
		for _, r := range routes {
			if !yield(Way{Port: l.Port, Traffic: TLSTraffic, Host: host, Subnets: r.subnets, Opaque: r.route}) {
				return false
			}
		}
		return true
	}) && l.rangeWays(&l.helloByIP, TLSTraffic, wanted, yield)
}

func (l *oldListener) tcpWays(wanted func(string) bool, yield func(Way) bool) bool {
	if !l.rangeWays(&l.tcpByIP, TCPTraffic, wanted, yield) || !l.rangeWays(&l.anyByIP, TCPTraffic, wanted, yield) {
		return false
	}
	for _, named := range l.tcpByName {
		if wanted(named.Own.Host) && !yield(Way{Port: l.Port, Traffic: TCPTraffic, Host: named.Own.Host, Opaque: named.Route}) {
			return false
		}
	}
	return true
}

// rangeWays goes through a table by range. A route there is wanted for the host of its
// first cluster.
func (l *oldListener) rangeWays(t *prefixTable, traffic Traffic, wanted func(string) bool, yield func(Way) bool) bool {
	ranges := slices.SortedFunc(maps.Keys(t.routes), func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	for _, r := range ranges {
		route := t.routes[r]
		if wanted(route.Destinations[0].Cluster.Host) && !yield(Way{Port: l.Port, Traffic: traffic, Subnets: []netip.Prefix{r}, Opaque: route}) {
			return false
		}
	}
	return true
}
