package mesh

import (
	"fmt"
	"slices"
	"strings"
)

// Check says what resources mean together that none of them means alone: claims to
// the same thing, where the older has it, and names that nobody registers
// (Options.Partial leaves out what a resource elsewhere might answer). All of it are
// warnings, in the order of their places.
func (s *Snapshot) Check() Issues {
	c := &crossCheck{snapshot: s, partial: s.partial, all: newRegistry(s), about: map[*Resource]int{}}
	c.servicePorts()
	c.barePorts()
	c.addressless()
	c.virtualHosts()
	c.destinations()
	c.unusedRoutes()
	c.rules()
	c.subsets()
	c.tunnels()
	c.idleOrigination()
	c.plainPorts()
	c.sidecars()
	for r, n := range c.about {
		if more := n - mostWarnings; more > 0 {
			c.issues = append(c.issues, r.Issue(Warning, "", "", fmt.Sprintf("and %d more warnings; see to these first", more)))
		}
	}
	c.issues.Sort()
	return c.issues
}

type crossCheck struct {
	snapshot *Snapshot
	partial  bool
	all      *registry // every host, whoever sees it
	issues   Issues
	about    map[*Resource]int
}

// mostWarnings bounds what is said of one resource: one of 256 hosts and 256 ports can claim
// 65 536 times what others have.
const mostWarnings = 100

func (c *crossCheck) warn(r *Resource, field, value, format string, args ...any) {
	if c.about[r]++; c.about[r] > mostWarnings {
		return
	}
	c.issues = append(c.issues, r.Issue(Warning, field, value, fmt.Sprintf(format, args...)))
}

// servicePorts finds hosts that several ServiceEntries register on one port.
func (c *crossCheck) servicePorts() {
	type hostPort struct {
		host string
		port uint16
	}
	first := make(map[hostPort][]*service)
	for _, s := range c.snapshot.services {
		for i, host := range s.hosts {
			for _, p := range s.ports {
				key := hostPort{host, p.number}
				if other := seenWith(first[key], s); other != nil {
					c.warn(s.resource, at("spec.hosts", i), host, "port %d of it is registered already by %s (%s), which has it; remove one of them",
						p.number, other.resource.Identity(), other.source.Place())
					continue
				}
				first[key] = append(first[key], s)
			}
		}
	}
}

// seenWith finds an older service that some namespace sees together with s.
func seenWith(older []*service, s *service) *service {
	for _, other := range older {
		if other != s && other.scope.overlaps(s.scope) {
			return other
		}
	}
	return nil
}

// barePorts finds TCP services without addresses on one port: a connection says
// nothing that tells them apart.
func (c *crossCheck) barePorts() {
	first := make(map[uint16][]*service)
	for _, s := range c.snapshot.services {
		if s.cluster || len(s.addresses) > 0 || c.snapshot.assigns && s.wantsVirtual() {
			continue
		}
		for _, p := range s.ports {
			if p.protocol != TCP {
				continue
			}
			if other := seenWith(first[p.number], s); other != nil {
				c.warn(s.resource, "spec.ports", "", "TCP port %d without spec.addresses is there already, in %s (%s); only what the hosts resolve to tells them apart: write spec.addresses, or capture DNS",
					p.number, other.resource.Identity(), other.source.Place())
				continue
			}
			first[p.number] = append(first[p.number], s)
		}
	}
}

// addressless finds hosts that want virtual addresses and were given none (vip.Book.Assign).
func (c *crossCheck) addressless() {
	if !c.snapshot.assigns {
		return
	}
	for _, s := range c.snapshot.services {
		if !s.wantsVirtual() {
			continue
		}
		for i, host := range s.hosts {
			if !isWildcard(host) && len(c.snapshot.virtual.at(host)) == 0 {
				c.warn(s.resource, at("spec.hosts", i), host, "has no virtual address: namespace %q has as many as are free, and one namespace gets no more; the name is answered as DNS answers it: write spec.addresses, or the label %s: \"false\" where none is needed, or register fewer hosts",
					s.resource.Namespace, noAutoAddress)
			}
		}
	}
}

// virtualHosts finds hosts that several VirtualServices route in the same way.
func (c *crossCheck) virtualHosts() {
	type claim struct{ host, protocol string }
	first := make(map[claim][]*virtualService)
	for _, v := range c.snapshot.virtuals {
		for i, host := range v.hosts {
			told := false
			for _, protocol := range v.protocols() {
				key := claim{host, protocol}
				older := slices.IndexFunc(first[key], func(o *virtualService) bool { return o != v && o.scope.overlaps(v.scope) })
				if older >= 0 && !told {
					other := first[key][older]
					told = true
					c.warn(v.resource, at("spec.hosts", i), host, "is routed already by %s (%s), which has it; put the routes into one VirtualService",
						other.resource.Identity(), other.source.Place())
				}
				first[key] = append(first[key], v)
			}
		}
	}
}

// protocols lists what kinds of routes there are.
func (v *virtualService) protocols() []string {
	var out []string
	for name, n := range map[string]int{"http": len(v.http), "tls": len(v.tls), "tcp": len(v.tcp)} {
		if n > 0 {
			out = append(out, name)
		}
	}
	return out
}

// destinations finds routes that lead to hosts or ports which nobody registers.
func (c *crossCheck) destinations() {
	for _, v := range c.snapshot.virtuals {
		for _, r := range v.http {
			c.routes(v, r.path, r.destinations)
			if len(r.destinations) == 0 {
				c.ownHosts(v, r.path)
			}
		}
		for _, r := range v.tls {
			c.routes(v, r.path, r.destinations)
		}
		for _, r := range v.tcp {
			c.routes(v, r.path, r.destinations)
		}
	}
}

func (c *crossCheck) routes(v *virtualService, path string, list []destination) {
	for _, d := range list {
		c.destination(v.resource, at(path+".route", d.index)+".destination", d)
	}
}

// destination looks at where a resource leads to.
func (c *crossCheck) destination(r *Resource, path string, d destination) {
	host, entry := c.all.resolve(d.host, r.Namespace)
	switch {
	case entry == nil:
		c.warn(r, path+".host", d.host, "no ServiceEntry registers it, so %s; register it or correct the name", unanswered(path))
	case d.port != 0 && !entry.has(d.port):
		c.warn(r, path+".port.number", fmt.Sprint(d.port), "no ServiceEntry registers this port of %s, so %s; register it or correct the number", d.host, unanswered(path))
	case d.subset != "":
		c.destinationSubset(r, path, host, entry, d)
	}
}

// unanswered is what becomes of what a route leads nowhere.
func unanswered(path string) string {
	if strings.HasPrefix(path, "spec.tls") || strings.HasPrefix(path, "spec.tcp") {
		return "connections are reset"
	}
	return "requests are answered 503"
}

func (r *registered) has(port uint16) bool {
	_, ok := r.on(port)
	return ok
}

// ownHosts looks at a route without destination, which goes to the VirtualService's
// own hosts.
func (c *crossCheck) ownHosts(v *virtualService, path string) {
	if c.partial {
		return
	}
	for _, host := range v.hosts {
		if full, entry := c.all.resolve(host, v.namespace); entry == nil && !c.all.knows(full) {
			c.warn(v.resource, path, "", "goes to %q, which no ServiceEntry registers, so requests are answered 503; register it", host)
		}
	}
}

// rules finds DestinationRules for the same host, and for hosts that nobody
// registers.
func (c *crossCheck) rules() {
	for key, rules := range c.snapshot.rulesOf.all() {
		for i, r := range rules {
			c.merged(r, rules[:i])
			switch full, entry := c.all.resolve(r.host, key.namespace); {
			case entry != nil:
				c.rulePorts(r, entry)
			case !c.partial && !c.all.knows(full):
				c.warn(r.resource, "spec.host", r.host, "no ServiceEntry registers it, so the rule has no effect; register it or correct the name")
			}
		}
	}
}

// rulePorts finds settings for ports that nobody registers. A wildcard is over hosts
// with different ones.
func (c *crossCheck) rulePorts(r *rule, entry *registered) {
	if isWildcard(r.host) {
		return
	}
	for path, policy := range policiesOf(r.spec()) {
		for item, settings := range portSettings(path, policy) {
			if n := settings.GetPort().GetNumber(); !entry.has(uint16(n)) {
				c.warn(r.resource, item+".port.number", fmt.Sprint(n), "no ServiceEntry registers this port of %s, so these settings have no effect; register it or correct the number", r.host)
			}
		}
	}
}

// sidecars finds namespaces with several Sidecars for every workload.
func (c *crossCheck) sidecars() {
	first := make(map[string]*sidecar)
	for _, s := range c.snapshot.sidecars {
		if s.egress != nil {
			c.destination(s.resource, "spec.outboundTrafficPolicy.egressProxy", *s.egress)
		}
		switch other := first[s.namespace]; {
		case len(s.labels) > 0 && s.namespace == c.snapshot.root:
			c.warn(s.resource, "spec.workloadSelector", "", "the root namespace's Sidecar is for every namespace and has no selector; put it into the workloads' namespace")
		case len(s.labels) > 0:
		case other != nil:
			c.warn(s.resource, "metadata.name", s.resource.Name, "namespace %s has a Sidecar for all its workloads already, %s (%s), which is followed; remove one of them",
				s.namespace, other.resource.Identity(), other.resource.Source.Place())
		default:
			first[s.namespace] = s
		}
	}
}
