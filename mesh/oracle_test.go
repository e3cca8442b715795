package mesh

import (
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
	namespace        string // whose workloads ask

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
			if c.sees(b.namespace, s.namespace, host, hostSet.covers) {
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
			if !c.sees(b.namespace, v.namespace, written, hostSet.meets) {
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

// assignVirtual asks for the virtual addresses of all hosts that want some.
func (s *oldSnapshot) assignVirtual(assign func([]vip.Wanted) map[string][]netip.Addr) {
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
	var all []vip.Wanted
	for _, host := range slices.Compact(hosts) {
		all = append(all, vip.Wanted{Host: host})
	}
	s.virtual = assign(all)
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
