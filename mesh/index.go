package mesh

import (
	"iter"
	"net/netip"
	"slices"
)

// Place is a resource and its rank among others: of two that claim the same thing the
// one whose Group comes first has it, and within a group (a file, say) the one of
// smaller Position. No two resources have the same place.
type Place struct {
	Resource *Resource
	Group    string
	Position int
}

// Index makes Snapshots one of another: what a change does not touch is shared. Building
// all anew would give the same answers. It is used by one goroutine at a time.
type Index struct {
	opts    Options
	newest  *Snapshot
	placed  map[*Resource]any // compiled
	wanting map[wish]int      // by how often
}

// tables are what a snapshot finds resources by.
type tables struct {
	hosts     table[string, *host]           // registered, by whomever
	parents   table[string, int]             // wildcards over hosts, by how many hosts
	wildcards int                            // among hosts and routed
	ports     lists[uint32, *service]        // by port and protocol
	prefixes  lists[netip.Prefix, *service]  // by their addresses
	lengths   []uint8                        // those of prefixes and virtual addresses, the longest first
	routed    lists[string, *virtualService] // by their hosts, as written
	sni       lists[string, *virtualService] // by the hosts of their tls matches
	led       table[string, int]             // hosts that routes name, by how often
	subnetted []*virtualService              // those whose tcp matches have subnets
	rulesOf   lists[ruleKey, *rule]          // by namespace and host
	ruling    table[string, int]             // namespaces that have rules, by how many
	special   table[string, int]             // namespaces that something is said of, by how often
	selectors selectors                      // of all matches and rules
	zone      zone                           // of the cluster
	zoned     table[string, int]             // namespaces that have names in the zone, by how many
	assigns   bool                           // there are virtual addresses
	virtual   table[string, []netip.Addr]    // by host
	byVirtual table[netip.Addr, string]      // their hosts
}

// host is who registers a host, whoever sees it.
type host struct {
	registered
	open bool // everybody sees all of it
}

// NewIndex is empty.
func NewIndex(opts Options) *Index {
	if opts.RootNamespace == "" {
		opts.RootNamespace = "istio-system"
	}
	s := &Snapshot{policy: opts.Policy, root: opts.RootNamespace, partial: opts.Partial, clusters: newClusterCache(), views: make(map[viewKey]*View)}
	s.assigns, s.zone = opts.Virtual != nil, newZone(opts.ClusterDomain)
	s.hosts.hash, s.parents.hash, s.routed.hash, s.sni.hash, s.led.hash = hashString, hashString, hashString, hashString, hashString
	s.ruling.hash, s.special.hash, s.virtual.hash, s.zoned.hash = hashString, hashString, hashString, hashString
	s.ports.hash, s.prefixes.hash, s.rulesOf.hash, s.byVirtual.hash = hashNumber, hashPrefix, hashRule, hashAddr
	return &Index{opts: opts, newest: s, placed: make(map[*Resource]any), wanting: make(map[wish]int)}
}

// Snapshot is the newest.
func (x *Index) Snapshot() *Snapshot { return x.newest }

// Change takes resources out and others in and gives the new snapshot. removed must be
// there; no two resources that are there have the same identity.
func (x *Index) Change(removed []*Resource, added []Place) *Snapshot {
	c := newChange(x.newest)
	for _, r := range removed {
		if compiled, there := x.placed[r]; there {
			delete(x.placed, r)
			c.note(compiled, false)
		}
	}
	for i, compiled := range compileAll(added) {
		x.placed[added[i].Resource] = compiled
		c.note(compiled, true)
	}
	s := c.snapshot()
	s.generation = x.newest.generation + 1
	c.touched.generation = s.generation
	x.assignVirtual(c, s, false)
	x.take(c, s)
	return s
}

// Reassign asks Options.Virtual again, which gives hosts other addresses than before, and
// says whether that makes a new snapshot.
func (x *Index) Reassign() (*Snapshot, bool) {
	c := newChange(x.newest)
	s := c.snapshot()
	s.generation = x.newest.generation + 1
	c.touched.generation = s.generation
	if !x.assignVirtual(c, s, true) {
		return x.newest, false
	}
	x.take(c, s)
	return s, true
}

// take makes a snapshot the newest, which has the views of the one before that no change
// touched.
func (x *Index) take(c *change, s *Snapshot) {
	touched := c.touched // without the change, which holds the snapshot before
	s.takeViews(x.newest, &touched)
	x.newest = s
}

// change is what comes and goes, by what it is found by.
type change struct {
	from *Snapshot

	services  moves[*service]
	virtuals  moves[*virtualService]
	ruled     moves[*rule]
	sidecars  moves[*sidecar]
	subnetted moves[*virtualService]

	hosts    listEdit[string, *service]
	ports    listEdit[uint32, *service]
	prefixes listEdit[netip.Prefix, *service]
	routed   listEdit[string, *virtualService]
	sni      listEdit[string, *virtualService]
	rules    listEdit[ruleKey, *rule]
	ruling   counts[string]
	special  counts[string]
	led      counts[string]
	zoned    counts[string]
	selects  bool

	wanting map[wish]int // more or less
	touched touched
}

func newChange(from *Snapshot) *change {
	return &change{
		from: from, hosts: newListEdit[string, *service](), ports: newListEdit[uint32, *service](),
		prefixes: newListEdit[netip.Prefix, *service](), routed: newListEdit[string, *virtualService](),
		sni: newListEdit[string, *virtualService](), rules: newListEdit[ruleKey, *rule](),
		ruling: counts[string]{from.ruling.edit()}, special: counts[string]{from.special.edit()}, led: counts[string]{from.led.edit()}, zoned: counts[string]{from.zoned.edit()},
		wanting: make(map[wish]int), touched: touched{opaque: make(map[uint16]bool)},
	}
}

func (c *change) note(compiled any, in bool) {
	switch r := compiled.(type) {
	case *service:
		c.service(r, in)
	case *virtualService:
		c.virtualService(r, in)
	case *rule:
		c.rule(r, in)
	case *sidecar:
		c.sidecars.note(r, in)
	}
}

func sign(in bool) int {
	if in {
		return 1
	}
	return -1
}

func (c *change) scope(s scope, in bool) {
	for _, namespace := range s.namespaces {
		c.special.add(namespace, sign(in))
	}
}

func (c *change) service(s *service, in bool) {
	c.services.note(s, in)
	c.scope(s.scope, in)
	for _, host := range s.hosts {
		c.hosts.note(host, s, in)
		c.touched.name(host)
		c.inZone(host, in)
		if s.wantsVirtual() && !isWildcard(host) {
			c.wanting[wish{host, s.resource.Namespace}] += sign(in)
		}
	}
	for _, p := range s.ports {
		c.ports.note(portKey(p.number, p.protocol), s, in)
		if p.protocol == TCP || p.protocol == Unset {
			c.touched.opaque[p.number] = true
		}
	}
	for _, prefix := range s.addresses {
		c.prefixes.note(prefix, s, in)
		c.touched.addresses = true
	}
}

// inZone notes a name of the cluster's: what a short name means depends on whose
// namespace asks.
func (c *change) inZone(host string, in bool) {
	if namespace := c.from.zone.namespaceOf(host); namespace != "" {
		c.zoned.add(namespace, sign(in))
	}
}

func portKey(number uint16, protocol Protocol) uint32 {
	return uint32(number)<<8 | uint32(protocol)
}

func (c *change) virtualService(v *virtualService, in bool) {
	c.virtuals.note(v, in)
	c.scope(v.scope, in)
	for _, host := range v.hosts {
		c.routed.note(host, v, in)
		c.touched.name(host)
		c.inZone(host, in)
		c.touched.name(c.from.zone.qualify(host, v.namespace))
	}
	for i := range v.tls {
		for _, m := range v.tls[i].matches {
			for _, host := range m.hosts {
				c.sni.note(host, v, in)
				c.touched.name(host)
			}
		}
	}
	if v.hasSubnets() {
		c.touched.subnets = true
		c.subnetted.note(v, in)
	}
	for to := range v.destinations() {
		c.led.add(to, sign(in))
		if full := c.from.zone.qualify(to, v.namespace); full != to {
			c.led.add(full, sign(in))
		}
	}
	for _, s := range v.selectors {
		c.selects = true
		if s.namespace != "" {
			c.special.add(s.namespace, sign(in))
		}
	}
}

func (c *change) rule(r *rule, in bool) {
	c.ruled.note(r, in)
	namespace := r.resource.Namespace
	host := c.from.zone.qualify(r.host, namespace)
	c.scope(r.scope, in)
	c.special.add(namespace, sign(in))
	c.ruling.add(namespace, sign(in))
	c.rules.note(ruleKey{namespace, host}, r, in)
	c.touched.name(host)
	c.touched.name(r.host)
	c.selects = c.selects || r.selector != nil
}

// snapshot makes the snapshot after the change, but for its virtual addresses.
func (c *change) snapshot() *Snapshot {
	from := c.from
	s := &Snapshot{
		policy: from.policy, root: from.root, partial: from.partial, clusters: from.clusters, tables: from.tables,
		services: c.services.apply(from.services), virtuals: c.virtuals.apply(from.virtuals),
		rules: c.ruled.apply(from.rules), sidecars: c.sidecars.apply(from.sidecars),
		views: make(map[viewKey]*View),
	}
	s.subnetted = c.subnetted.apply(s.subnetted)
	c.registered(s)
	s.ports = c.ports.apply(s.ports)
	s.prefixes = c.prefixes.apply(s.prefixes)
	s.lengths = c.lengths(s)
	before := s.routed
	s.routed = c.routed.apply(s.routed)
	c.routed.keys(func(host string) {
		s.wildcards += wildcardChange(host, before.at(host) != nil, s.routed.at(host) != nil)
	})
	s.sni = c.sni.apply(s.sni)
	s.rulesOf = c.rules.apply(s.rulesOf)
	s.ruling, s.special, s.led, s.zoned = c.ruling.table, c.special.table, c.led.table, c.zoned.table
	if c.selects {
		s.selectors = make(selectors)
		for _, v := range s.virtuals {
			for _, one := range v.selectors {
				s.selectors.add(one)
			}
		}
		for _, r := range s.rules {
			s.selectors.add(r.selector)
		}
	}
	return s
}

func wildcardChange(host string, before, after bool) int {
	switch {
	case !isWildcard(host) || before == after:
		return 0
	case after:
		return 1
	}
	return -1
}

// registered makes the tables of registered hosts.
func (c *change) registered(s *Snapshot) {
	hosts, parents := s.hosts.edit(), counts[string]{s.parents.edit()}
	c.hosts.keys(func(name string) {
		var before []*service
		old := hosts.at(name)
		if old != nil {
			before = old.services
		}
		services := changedList(before, c.hosts.removed[name], c.hosts.added[name])
		if len(services) > 0 {
			hosts.set(name, newHost(name, services))
		} else {
			hosts.delete(name)
		}
		if there := len(services) > 0; there != (old != nil) {
			s.wildcards += wildcardChange(name, old != nil, there)
			for wildcard := range wildcardsOver(name) {
				parents.add(wildcard, sign(there))
			}
		}
	})
	s.hosts, s.parents = hosts.table, parents.table
}

func newHost(name string, services []*service) *host {
	h := &host{open: !slices.ContainsFunc(services, func(s *service) bool { return !s.scope.everyone })}
	h.registered = *newRegistered(name, services)
	return h
}

// lengths lists the lengths that there are among the ranges.
func (c *change) lengths(s *Snapshot) []uint8 {
	if len(c.prefixes.removed)+len(c.prefixes.added) == 0 && c.subnetted.none() && (s.lengths != nil || !s.assigns) {
		return s.lengths
	}
	var seen [129]bool
	if s.assigns {
		seen[32], seen[128] = true, true
	}
	for prefix := range s.prefixes.all() {
		seen[prefix.Bits()] = true
	}
	for _, v := range s.subnetted {
		for subnet := range v.subnets() {
			seen[subnet.Bits()] = true
		}
	}
	var out []uint8
	for bits := 128; bits >= 0; bits-- {
		if seen[bits] {
			out = append(out, uint8(bits))
		}
	}
	return out
}

// destinations gives the hosts that routes lead to, as written.
func (v *virtualService) destinations() iter.Seq[string] {
	return func(yield func(string) bool) {
		lists := make([][]destination, 0, len(v.http)+len(v.tls)+len(v.tcp))
		for i := range v.http {
			lists = append(lists, v.http[i].destinations)
		}
		for i := range v.tls {
			lists = append(lists, v.tls[i].destinations)
		}
		for i := range v.tcp {
			lists = append(lists, v.tcp[i].destinations)
		}
		for _, list := range lists {
			for _, to := range list {
				if !yield(to.host) {
					return
				}
			}
		}
	}
}

// subnets gives the destinations of tcp matches.
func (v *virtualService) subnets() iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		for i := range v.tcp {
			for _, m := range v.tcp[i].matches {
				for _, subnet := range m.subnets {
					if !yield(subnet) {
						return
					}
				}
			}
		}
	}
}

func (v *virtualService) hasSubnets() bool {
	for range v.subnets() {
		return true
	}
	return false
}

// namesRange says whether a service names a range, or a host has it as its virtual
// address.
func (s *Snapshot) namesRange(prefix netip.Prefix) bool {
	if _, ok := s.prefixes.get(prefix); ok {
		return true
	}
	_, virtual := s.byVirtual.get(prefix.Addr())
	return virtual && prefix.IsSingleIP()
}
