package mesh

// viewKey is all that a view depends on; workloads that agree on it share one.
type viewKey struct {
	namespace string
	sidecar   *sidecar
	selected  string // what selectors by labels say
}

// View shows the snapshot as a workload sees it. It is built at first use and
// shared by the workloads that see the same.
func (s *Snapshot) View(w Workload) *View {
	if w.Namespace == "" {
		w.Namespace = "default"
	}
	key := viewKey{w.Namespace, s.sidecarFor(w), s.selectors.taking(w)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.views[key]; ok {
		return v
	}
	v := s.newView(key, w)
	s.views[key] = v
	return v
}

// newView builds the view of all workloads that have the key; w is any of them.
func (s *Snapshot) newView(key viewKey, w Workload) *View {
	v := &View{Policy: s.policy, listeners: make(map[uint16]*Listener)}
	if key.sidecar != nil && key.sidecar.policy != nil {
		v.Policy = *key.sidecar.policy
	}
	b := &viewBuilder{
		snapshot:  s,
		namespace: key.namespace,
		workload:  w,
		visible:   newRegistry(),
		reachable: newRegistry(),
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

// viewBuilder holds what one view is made of while it is made.
type viewBuilder struct {
	snapshot  *Snapshot
	namespace string
	workload  Workload  // asked by selectors only, which tell those with the view's key not apart
	visible   *registry // what the workload may ask for
	reachable *registry // what routes may send to: exported, imported or not
	virtuals  []*virtualService
	byHost    hostIndex[*virtualService] // those with HTTP routes
	inexact   []string                   // hosts of byHost that no service has by that very name
	unknown   map[string]*Cluster
}

func (b *viewBuilder) selectServices(c *sidecar) {
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

func (b *viewBuilder) selectVirtualServices(c *sidecar) {
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

type hostOnPort struct {
	host string
	registeredPort
}

func (b *viewBuilder) portsInUse() []*portInUse {
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
func (b *viewBuilder) cluster(host string, p registeredPort, opaque bool) *Cluster {
	return b.subsetCluster(host, p, "", opaque)
}

// subsetCluster is that of a subset; nil where no rule has one of that name.
func (b *viewBuilder) subsetCluster(host string, p registeredPort, subset string, opaque bool) *Cluster {
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
func (b *viewBuilder) destinations(list []destination, namespace string, port uint16, opaque bool) []WeightedCluster {
	out := make([]WeightedCluster, len(list))
	for i, d := range list {
		out[i] = WeightedCluster{Cluster: b.destination(d, namespace, port, opaque), Weight: d.weight, Edits: d.edits}
	}
	return out
}

func (b *viewBuilder) destination(d destination, namespace string, asked uint16, opaque bool) *Cluster {
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
