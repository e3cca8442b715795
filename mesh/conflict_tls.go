package mesh

import (
	"iter"
	"slices"

	networking "istio.io/api/networking/v1alpha3"
)

// idleOrigination finds rules that would originate TLS for a host to which only
// TLS can be sent: what is TLS already is not wrapped again.
func (c *crossCheck) idleOrigination() {
	routed := c.routedHosts()
	for key, rules := range c.snapshot.rulesOf.all() {
		for _, r := range rules {
			full, entry := c.all.resolve(r.host, key.namespace)
			if !r.originates() || r.tunnelField() != "" || entry == nil || entry.host != full || routed[full] {
				continue
			}
			if !slices.ContainsFunc(entry.ports, func(p registeredPort) bool { return p.protocol != TLS }) {
				c.warn(r.resource, "spec.trafficPolicy", "", "originates TLS for %s, whose ports carry TLS already: that passes as it is; declare the port HTTP and let clients speak plain HTTP to it, or remove tls", r.host)
			}
		}
	}
}

// routedHosts are the destinations of http routes: requests reach them in the
// clear, whatever their ports are declared to carry.
func (c *crossCheck) routedHosts() map[string]bool {
	out := make(map[string]bool)
	for _, v := range c.snapshot.virtuals {
		for _, r := range v.http {
			for _, d := range r.destinations {
				full, _ := c.all.resolve(d.host, v.namespace)
				out[full] = true
			}
		}
	}
	return out
}

func (r *rule) originates() bool {
	if compileTLS(r.traffic.GetTls()) != nil {
		return true
	}
	return slices.ContainsFunc(r.traffic.GetPortLevelSettings(), func(p *networking.TrafficPolicy_PortTrafficPolicy) bool {
		return compileTLS(p.Tls) != nil
	})
}

// plainPorts finds rules that would originate TLS towards port 80, where servers
// speak plain HTTP: mostly a forgotten targetPort.
func (c *crossCheck) plainPorts() {
	routes := c.httpRoutes()
	for key, rules := range c.snapshot.rulesOf.all() {
		for _, r := range rules {
			if !r.originates() {
				continue
			}
			for host, entry := range c.ruled(r, key.namespace) {
				v, _ := routes.find(host)
				c.plainPortsOf(r, key.namespace, host, entry, v)
			}
		}
	}
}

// ruled gives the registered hosts that a rule is about.
func (c *crossCheck) ruled(r *rule, namespace string) iter.Seq2[string, *registered] {
	return func(yield func(string, *registered) bool) {
		if !isWildcard(r.host) {
			if host, entry := c.all.resolve(r.host, namespace); entry != nil {
				yield(host, entry)
			}
			return
		}
		for _, entry := range c.all.under(r.host) {
			if !yield(entry.host, entry) {
				return
			}
		}
	}
}

func (c *crossCheck) plainPortsOf(r *rule, namespace, host string, entry *registered, v *virtualService) {
	const plain = 80
	for _, p := range entry.ports {
		switch {
		case p.protocol == TLS || r.on(p.number).tls == nil || !p.reaches(plain):
		case followed(c.snapshot.rulesFor(host, r.client(namespace), p.service.namespace)) != r: // another one is nearer
		case v != nil && v.leaves(p.number):
		default:
			c.warn(r.resource, r.tlsField(p.number), "", "sends TLS to port %d of %s, where servers speak plain HTTP; write targetPort: 443 for port %d of %s (%s)",
				plain, host, p.number, p.service.resource.Identity(), p.service.source.Place())
		}
	}
}

// reaches says whether connections to a port end at that number.
func (p registeredPort) reaches(number uint16) bool {
	if len(p.service.endpoints) == 0 || p.service.resolution == ResolveNone {
		return p.target == number
	}
	return slices.ContainsFunc(p.service.endpointsOn(p.servicePort), func(e Endpoint) bool { return e.Port == number })
}

// httpRoutes finds the VirtualService with HTTP routes that a host has.
func (c *crossCheck) httpRoutes() hostIndex[*virtualService] {
	out := make(hostIndex[*virtualService])
	for _, v := range c.snapshot.virtuals {
		for _, written := range v.hosts {
			if host, _ := c.all.resolve(written, v.namespace); len(v.http) > 0 && out[host] == nil {
				out[host] = v
			}
		}
	}
	return out
}

// leaves says whether a VirtualService leads all requests for a port to other ports, or
// to subsets, which may have a policy of their own.
func (v *virtualService) leaves(port uint16) bool {
	stays := func(d destination) bool { return d.subset == "" && (d.port == 0 || d.port == port) }
	return !slices.ContainsFunc(v.http, func(r httpRule) bool {
		return len(r.destinations) == 0 || slices.ContainsFunc(r.destinations, stays)
	})
}

// tlsField is where the rule's TLS settings for a port were written.
func (r *rule) tlsField(port uint16) string {
	const policy = "spec.trafficPolicy"
	for item, settings := range portSettings(policy, r.traffic) {
		if settings.GetPort().GetNumber() == uint32(port) {
			return item + ".tls"
		}
	}
	return policy + ".tls"
}
