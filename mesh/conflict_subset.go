package mesh

import (
	"iter"
	"slices"
	"strings"
)

// merged says what a rule adds in vain to older ones for the same host and workloads:
// the oldest policy is followed, and the oldest subset of a name.
func (c *crossCheck) merged(r *rule, older []*rule) {
	policyTold := false
	for _, o := range older {
		if !o.selector.says(r.selector) || !o.scope.overlaps(r.scope) {
			continue
		}
		if r.traffic != nil && o.traffic != nil && !policyTold {
			policyTold = true
			c.warn(r.resource, "spec.host", r.host, "has a policy already, in %s (%s), which is followed; put both into one",
				o.resource.Identity(), o.source.Place())
		}
		for i, s := range r.subsets {
			if other := subsetOf([]*rule{o}, s.name); other != nil {
				c.warn(r.resource, at("spec.subsets", i)+".name", s.name, "is there already, in %s (%s), which has it; remove one of them",
					o.resource.Identity(), other.source.Place())
			}
		}
	}
}

// destinationSubset looks for the subset that a route leads to.
func (c *crossCheck) destinationSubset(of *Resource, path, host string, entry *registered, d destination) {
	name, field := d.subset, path+".subset"
	var nearest *rule
	for r := range c.rulesOver(host, of.Namespace) {
		if s := subsetOf([]*rule{r}, name); s != nil {
			c.plainSubset(of, path, host, entry, d, s.policy(r, entry.portOf(d)))
			return
		}
		if nearest == nil {
			nearest = r
		}
	}
	switch {
	case nearest != nil:
		c.warn(of, field, name, "is not a subset of %s, so %s; add it to %s (%s) or correct the name",
			host, unanswered(path), nearest.resource.Identity(), nearest.source.Place())
	case !c.partial:
		c.warn(of, field, name, "no DestinationRule has subsets of %s, so %s; write one, or leave subset out", host, unanswered(path))
	}
}

// plainSubset is plainPorts for a route to a subset, whose policy may be another than the
// rule's. tls routes carry what is TLS already.
func (c *crossCheck) plainSubset(of *Resource, path, host string, entry *registered, d destination, says policy) {
	const plain = 80
	p, ok := entry.on(entry.portOf(d))
	if !ok || says.tls == nil || p.protocol == TLS || !p.reaches(plain) || strings.HasPrefix(path, "spec.tls") {
		return
	}
	c.warn(of, path+".subset", d.subset, "sends TLS to port %d of %s, where servers speak plain HTTP; lead to a port of TLS, or write targetPort: 443 for port %d of %s (%s)",
		plain, host, p.number, p.service.resource.Identity(), p.service.source.Place())
}

// portOf is the port that a destination is on, 0 where that is the request's.
func (r *registered) portOf(d destination) uint16 {
	if d.port == 0 && len(r.ports) == 1 {
		return r.ports[0].number
	}
	return d.port
}

// rulesOver gives every rule for a host that somebody may follow, those of a namespace
// first and the most specific first.
func (c *crossCheck) rulesOver(host, namespace string) iter.Seq[*rule] {
	return func(yield func(*rule) bool) {
		first := func(ns string) bool {
			all := slices.Clone(c.snapshot.rulesOf.at(ruleKey{ns, c.snapshot.zone.qualify(host, ns)}))
			for wildcard := range wildcardsOver(host) {
				all = append(all, c.snapshot.rulesOf.at(ruleKey{ns, wildcard})...)
			}
			for _, r := range all {
				if !yield(r) {
					return false
				}
			}
			return true
		}
		if !first(namespace) {
			return
		}
		for ns := range c.snapshot.ruling.all() {
			if ns != namespace && !first(ns) {
				return
			}
		}
	}
}

// subsets finds those whose labels no endpoint has.
func (c *crossCheck) subsets() {
	for key, rules := range c.snapshot.rulesOf.all() {
		for _, r := range rules {
			if !slices.ContainsFunc(r.subsets, func(s *subset) bool { return len(s.labels) > 0 }) {
				continue
			}
			for host, entry := range c.ruled(r, key.namespace) {
				for i, s := range r.subsets {
					c.emptySubset(r, i, s, host, entry)
				}
			}
		}
	}
}

func (c *crossCheck) emptySubset(r *rule, i int, s *subset, host string, entry *registered) {
	if len(s.labels) == 0 || slices.ContainsFunc(entry.services, s.selectsSome) {
		return
	}
	where := entry.services[0]
	path := at("spec.subsets", i) + ".labels"
	if where.resolution == ResolveNone {
		c.warn(r.resource, path, "", "have no effect: %s has resolution NONE in %s (%s), so a connection goes where it was sent; give it endpoints, or leave labels out",
			host, where.resource.Identity(), where.source.Place())
		return
	}
	c.warn(r.resource, path, "", "no endpoint of %s has them in %s (%s), so requests for subset %s are answered 503; label an endpoint there or correct the labels",
		host, where.resource.Identity(), where.source.Place(), s.name)
}

func (s *subset) selectsSome(service *service) bool {
	if service.resolution == ResolveNone {
		return false
	}
	for _, e := range service.endpoints {
		if hasLabels(e.Labels, s.labels) {
			return true
		}
	}
	return false
}
