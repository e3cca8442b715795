package mesh

// ruleIndex finds the rules of each namespace by full host, the oldest first.
type ruleIndex map[string]hostIndex[[]*rule]

func (x ruleIndex) add(namespace string, r *rule) {
	if x[namespace] == nil {
		x[namespace] = make(hostIndex[[]*rule])
	}
	host := newZone("").qualify(r.host, namespace)
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
		if found := rulesFollowed(w, byHost[newZone("").qualify(host, namespace)]); found != nil {
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
