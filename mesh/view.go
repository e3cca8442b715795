package mesh

import "slices"

// View is a Snapshot as one workload sees it. What it says about a host is derived when
// that host is first asked for, and kept; what a later snapshot's view would derive in
// the same way it takes over.
type View struct {
	Policy OutboundPolicy
	Egress *EgressProxy // where strangers pass: where they are sent; nil: where they were going

	snapshot  *Snapshot
	key       viewKey
	workload  Workload   // asked by selectors only, which tell those with the view's key not apart
	asked     bool       // guarded by the snapshot's mu
	log       []*touched // by the last changes, the newest last
	listeners memo[uint16, *Listener]
	names     memo[string, *derived[*Name]]
}

// viewKey is all that a view depends on; workloads that agree on it share one.
type viewKey struct {
	namespace string // "" for all that nothing is said of
	sidecar   *sidecar
	selected  string // what selectors by labels say
	policy    uint8  // 0: nobody laid one down, else OutboundPolicy + 1
}

// View shows the snapshot as a workload sees it. It is shared by the workloads that see
// the same.
func (s *Snapshot) View(w Workload) *View {
	if w.Namespace == "" {
		w.Namespace = "default"
	}
	key := s.keyOf(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.views[key]
	if v == nil {
		v = newView(s, key, w)
		s.views[key] = v
	}
	v.asked = true
	return v
}

func (s *Snapshot) keyOf(w Workload) viewKey {
	key := viewKey{namespace: w.Namespace, sidecar: s.sidecarFor(w), selected: s.selectors.taking(w)}
	if w.Policy != nil {
		key.policy = uint8(*w.Policy) + 1
	}
	_, special := s.special.get(w.Namespace)
	if _, zoned := s.zoned.get(w.Namespace); !special && !zoned && !key.sidecar.relative() {
		key.namespace = ""
	}
	return key
}

// newView makes the view of all workloads that have the key; w is any of them.
func newView(s *Snapshot, key viewKey, w Workload) *View {
	v := &View{Policy: s.policy, snapshot: s, key: key, workload: w}
	switch {
	case key.policy > 0:
		v.Policy = OutboundPolicy(key.policy - 1)
	case key.sidecar != nil && key.sidecar.policy != nil:
		v.Policy = *key.sidecar.policy
	}
	if v.Passes() {
		v.Egress = v.egressProxy(key.sidecar)
	}
	return v
}

// Passes says whether what nobody registers is let through.
func (v *View) Passes() bool { return v.Policy != RegistryOnly }

// relative says whether what is imported depends on whose workload it is.
func (c *sidecar) relative() bool {
	if c == nil {
		return false
	}
	_, some := c.imports["."]
	return some
}

// Listener returns what visible services declare on a port, nil when none does.
func (v *View) Listener(port uint16) *Listener {
	if l, known := v.listeners.get(v, port); known {
		return l
	}
	if !v.snapshot.declares(port) {
		return nil
	}
	return v.listeners.put(v, port, newListener(v, port))
}

// declares says whether any service, visible or not, has a port.
func (s *Snapshot) declares(port uint16) bool {
	for protocol := Unset; protocol <= TCP; protocol++ {
		if _, some := s.ports.get(portKey(port, protocol)); some {
			return true
		}
	}
	return false
}

// Ports lists the ports that have a listener, in order.
func (v *View) Ports() []uint16 {
	var out []uint16
	for key := range v.snapshot.ports.all() {
		out = append(out, uint16(key>>8))
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(port uint16) bool { return v.Listener(port) == nil })
}

// sees says whether the workload may ask for a service's host.
func (v *View) sees(s *service, host string) bool {
	return s.scope.includes(v.key.namespace) && v.key.sidecar.sees(v.key.namespace, s.namespace, host, hostSet.covers)
}

// reachable is what routes may send to: exported, imported or not.
func (v *View) reachable(host string) *registered {
	return v.entry(host, func(s *service) bool { return s.scope.includes(v.key.namespace) }, false)
}

// visible is what the workload may ask for.
func (v *View) visible(host string) *registered {
	return v.entry(host, func(s *service) bool { return v.sees(s, host) }, v.key.sidecar != nil && v.key.sidecar.filtered)
}

// entry gives a host with the services that are included. filtered says that others
// than exportTo leave some out.
func (v *View) entry(name string, includes func(*service) bool, filtered bool) *registered {
	h := v.snapshot.hosts.at(name)
	if h == nil {
		return nil
	}
	if h.open && !filtered {
		return &h.registered
	}
	var some []*service
	for _, s := range h.services {
		if includes(s) {
			some = append(some, s)
		}
	}
	switch len(some) {
	case 0:
		return nil
	case len(h.services):
		return &h.registered
	}
	return newRegistered(name, some)
}

// uses says whether a VirtualService says anything to the workload.
func (v *View) uses(r *virtualService) bool {
	return r.scope.includes(v.key.namespace) && slices.ContainsFunc(r.hosts, func(written string) bool { return v.imports(r, written) })
}

// imports says whether a VirtualService's host is one that the workload's Sidecar lets
// it ask for.
func (v *View) imports(r *virtualService, written string) bool {
	return v.key.sidecar.sees(v.key.namespace, r.namespace, written, hostSet.meets)
}

// derivation is an answer while it is derived: it notes from which names. A name stands
// for the wildcards over it too, which are not noted for its sake: they stand for all that
// is under them.
type derivation struct {
	*View
	names []string
	on    dependence
	port  uint16
}

func (d *derivation) note(name string) {
	if n := len(d.names); !slices.Contains(d.names[max(0, n-8):], name) {
		d.names = append(d.names, name)
	}
}

// noted gives the names, each once.
func (d *derivation) noted() []string {
	slices.Sort(d.names)
	return slices.Clip(slices.Compact(d.names))
}

// find finds an entry as the finder does.
func (d *derivation) find(f finder, name string) *registered {
	d.note(name)
	return f.find(name)
}

func (d *derivation) resolve(f finder, name, namespace string) (string, *registered) {
	d.note(name)
	d.note(d.snapshot.zone.qualify(name, namespace))
	return f.resolve(name, namespace, d.snapshot.zone)
}

// virtualServices gives those that are for a host by that very name, as written or by a
// short one, the oldest first. use is asked with the host as written. The caller notes the
// host, or one that it is over.
func (d *derivation) virtualServices(host string, use func(r *virtualService, written string) bool) []*virtualService {
	var out []*virtualService
	add := func(written string) {
		for _, r := range d.snapshot.routed.at(written) {
			if !use(r, written) {
				continue
			}
			full := written // as it is, if it is a wildcard
			if !isWildcard(written) {
				full, _ = d.resolve(d.visible, written, r.namespace)
			}
			if full == host {
				out = append(out, r)
			}
		}
	}
	add(host)
	if short, ok := d.snapshot.zone.short(host); ok && !isWildcard(host) {
		d.note(short)
		before := len(out)
		if add(short); before > 0 {
			slices.SortStableFunc(out, byRank)
		}
	}
	return out
}

// httpFor finds the VirtualService whose http routes a host by that very name has.
func (d *derivation) httpFor(host string) *virtualService {
	all := d.virtualServices(host, func(r *virtualService, written string) bool {
		return len(r.http) > 0 && r.scope.includes(d.key.namespace) && d.imports(r, written)
	})
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// hostOnPort is a host and what is declared on one of its ports.
type hostOnPort struct {
	host string
	registeredPort
}

// cluster is the cluster of a host on one of its ports, under the rule that this
// view's workloads follow.
func (d *derivation) cluster(host string, p registeredPort, opaque bool) *Cluster {
	return d.subsetCluster(host, p, "", opaque)
}

// subsetCluster is that of a subset; nil where no rule has one of that name.
func (d *derivation) subsetCluster(host string, p registeredPort, subset string, opaque bool) *Cluster {
	s := d.snapshot
	d.note(host)
	for _, namespace := range []string{d.workload.Namespace, p.service.namespace, s.root} {
		d.note(s.zone.qualify(host, namespace))
	}
	rules := s.rulesFor(host, d.workload, p.service.namespace)
	key := clusterKey{service: p.service, host: host, port: p.number, rule: followed(rules), opaque: opaque}
	if subset != "" {
		if key.subset = subsetOf(rules, subset); key.subset == nil {
			return nil
		}
	}
	return s.clusters.get(key, func() *Cluster { return newCluster(key, p.servicePort) })
}

// destinations looks up where a rule sends to.
func (d *derivation) destinations(list []destination, namespace string, port uint16, opaque bool) []WeightedCluster {
	out := make([]WeightedCluster, len(list))
	for i, to := range list {
		out[i] = WeightedCluster{Cluster: d.destination(to, namespace, port, opaque), Weight: to.weight, Edits: to.edits}
	}
	return out
}

func (d *derivation) destination(to destination, namespace string, asked uint16, opaque bool) *Cluster {
	host, entry := d.resolve(d.reachable, to.host, namespace)
	number := asked
	switch {
	case to.port != 0:
		number = to.port
	case entry != nil && len(entry.ports) == 1:
		number = entry.ports[0].number
	}
	if entry != nil {
		if p, ok := entry.on(number); ok {
			if c := d.subsetCluster(host, p, to.subset, opaque); c != nil {
				return c
			}
		}
	}
	key := clusterKey{host: host, port: number, missing: to.subset}
	return d.snapshot.clusters.get(key, func() *Cluster { return unknownCluster(host, number, to.subset) })
}
