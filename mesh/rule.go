package mesh

import (
	"slices"
	"time"

	networking "istio.io/api/networking/v1alpha3"
)

const defaultConnectTimeout = 10 * time.Second

// rule is a compiled DestinationRule.
type rule struct {
	rank
	resource *Resource
	source   Source
	scope    scope
	selector *selector // of the namespace's workloads; nil: all
	host     string
	traffic  *networking.TrafficPolicy // nil: nothing was said
	subsets  []*subset
}

// policy is what a DestinationRule says about connections.
type policy struct {
	tls         *TLSSettings
	pool        PoolSettings
	version     version
	passthrough bool // PASSTHROUGH: the endpoints are left out
}

func compileRule(r *Resource, spec *networking.DestinationRule) *rule {
	out := &rule{
		resource: r,
		source:   r.Source,
		scope:    newScope(r.Namespace, spec.ExportTo),
		host:     canonicalHost(spec.Host),
		traffic:  spec.TrafficPolicy,
	}
	if spec.WorkloadSelector != nil {
		out.selector = newSelector(r.Namespace, spec.WorkloadSelector.MatchLabels)
	}
	for i, s := range spec.Subsets {
		out.subsets = append(out.subsets, compileSubset(r, i, s))
	}
	return out
}

// wholePolicy makes of a port's settings the policy that takes the place of the rule's.
func wholePolicy(p *networking.TrafficPolicy_PortTrafficPolicy) *networking.TrafficPolicy {
	return &networking.TrafficPolicy{
		ConnectionPool:   p.ConnectionPool,
		LoadBalancer:     p.LoadBalancer,
		OutlierDetection: p.OutlierDetection,
		Tls:              p.Tls,
	}
}

// compilePolicy looks at a policy without its port-level settings; nil has the defaults.
func compilePolicy(traffic *networking.TrafficPolicy) policy {
	var p policy
	p.pool, p.passthrough = compilePool(traffic)
	p.tls = compileTLS(traffic.GetTls())
	p.version = compileVersion(traffic.GetConnectionPool().GetHttp())
	return p
}

// spec is what the rule was compiled from.
func (r *rule) spec() *networking.DestinationRule {
	return r.resource.Spec.(*networking.DestinationRule)
}

// client is a workload of a namespace that the rule may be for.
func (r *rule) client(namespace string) Workload {
	w := Workload{Namespace: namespace}
	if r.selector != nil {
		w.Labels = r.selector.labels
	}
	return w
}

// followed is the rule whose policy holds: the oldest that has any.
func followed(rules []*rule) *rule {
	for _, r := range rules {
		if r.traffic != nil {
			return r
		}
	}
	if len(rules) == 0 {
		return nil
	}
	return rules[0]
}

// on is the policy for a port; a nil rule has the defaults.
func (r *rule) on(port uint16) policy {
	if r == nil {
		return compilePolicy(nil)
	}
	said, _ := onPort(r.traffic, port)
	return compilePolicy(said)
}

// ruleKey is what rules are kept by: their namespace and full host.
type ruleKey struct{ namespace, host string }

// rulesFor gives the rules for a host that a workload calls and some namespace registers:
// the workload's own namespace decides before the service's, and that before the root;
// within a namespace the most specific host does, and for one host the rules that
// select the workload before those for all. There are several where they are merged:
// see followed and subsetOf.
func (s *Snapshot) rulesFor(host string, w Workload, service string) []*rule {
	for _, namespace := range []string{w.Namespace, service, s.root} {
		if _, some := s.ruling.get(namespace); !some {
			continue
		}
		if found := rulesFollowed(w, s.rulesOf.at(ruleKey{namespace, s.zone.qualify(host, namespace)})); found != nil {
			return found
		}
		for wildcard := range wildcardsOver(host) {
			if found := rulesFollowed(w, s.rulesOf.at(ruleKey{namespace, wildcard})); found != nil {
				return found
			}
		}
	}
	return nil
}

// rulesFollowed leaves the rules of one host and namespace that a workload follows.
func rulesFollowed(w Workload, all []*rule) []*rule {
	var first *rule
	for _, r := range all {
		if !r.scope.includes(w.Namespace) || !r.selector.takes(w) {
			continue
		}
		if first == nil || first.selector == nil && r.selector != nil {
			first = r
		}
	}
	switch {
	case first == nil:
		return nil
	case len(all) == 1:
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(r *rule) bool {
		return !r.scope.includes(w.Namespace) || !r.selector.says(first.selector)
	})
}
