package mesh

import networking "istio.io/api/networking/v1alpha3"

// subset is a compiled DestinationRule subset: some of a host's endpoints, or all of
// them under another policy.
type subset struct {
	name    string
	labels  map[string]string // empty: every endpoint
	source  Source
	traffic *networking.TrafficPolicy // over the rule's; nil: the rule's
}

func compileSubset(r *Resource, i int, s *networking.Subset) *subset {
	return &subset{s.Name, s.Labels, r.sourceAt(at("spec.subsets", i)), s.TrafficPolicy}
}

// subsetOf finds the subset of a name among rules that are followed together: the
// oldest has it, as where Istio merges rules.
func subsetOf(rules []*rule, name string) *subset {
	for _, r := range rules {
		for _, s := range r.subsets {
			if s.name == name {
				return s
			}
		}
	}
	return nil
}

// called is the subset's part of a cluster's name.
func (s *subset) called() string {
	if s == nil {
		return ""
	}
	return s.name
}

// narrow makes of a service's cluster that of the subset. A service whose own name is
// its only endpoint has no endpoint with labels.
func (s *subset) narrow(c *Cluster) {
	c.Subset = s.name
	if s.traffic != nil {
		c.PolicySrc = s.source
	}
	if len(s.labels) == 0 || c.Resolution == ResolveNone {
		return // NONE has no endpoints to select from: the labels say nothing
	}
	var kept []Endpoint
	for _, e := range c.Endpoints {
		if hasLabels(e.Labels, s.labels) {
			kept = append(kept, e)
		}
	}
	if c.Endpoints = kept; len(kept) == 0 {
		c.Resolution = ResolveStatic // not to be taken for a name to look up
	}
}

// policy is a subset's policy on a port, over that of the rule that is followed, as
// Istio's MergeSubsetTrafficPolicy has it; a nil subset has the rule's.
func (s *subset) policy(r *rule, port uint16) policy {
	if s == nil || s.traffic == nil {
		return r.on(port)
	}
	own, replaces := onPort(s.traffic, port)
	if r == nil || r.traffic == nil {
		return compilePolicy(own)
	}
	host, _ := onPort(r.traffic, port)
	return compilePolicy(over(host, own, replaces))
}

// onPort is what a policy says about a port: its port-level settings for that port in
// place of all the rest, if there are any. Nothing is inherited.
func onPort(p *networking.TrafficPolicy, port uint16) (_ *networking.TrafficPolicy, replaces bool) {
	for _, settings := range p.GetPortLevelSettings() {
		if settings.GetPort().GetNumber() == uint32(port) {
			return wholePolicy(settings), true
		}
	}
	return p, false
}

// over lays a subset's policy over the host's: each of its settings takes the place of
// the host's whole setting of that kind. Port-level settings replace also with what
// they leave out. For tunnel see tunnelOf; nothing else of a policy is followed.
func over(host, own *networking.TrafficPolicy, replaces bool) *networking.TrafficPolicy {
	out := &networking.TrafficPolicy{
		ConnectionPool:   host.ConnectionPool,
		LoadBalancer:     host.LoadBalancer,
		OutlierDetection: host.OutlierDetection,
		Tls:              host.Tls,
	}
	if own.ConnectionPool != nil || replaces {
		out.ConnectionPool = own.ConnectionPool
	}
	if own.LoadBalancer != nil || replaces {
		out.LoadBalancer = own.LoadBalancer
	}
	if own.OutlierDetection != nil || replaces {
		out.OutlierDetection = own.OutlierDetection
	}
	if own.Tls != nil || replaces {
		out.Tls = own.Tls
	}
	return out
}
