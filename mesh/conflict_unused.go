package mesh

import (
	"slices"
	"strings"
)

// unusedRoutes finds routes for a protocol that none of their hosts' ports carries:
// http routes of an HTTPS port, say, which nobody can read.
func (c *crossCheck) unusedRoutes() {
	kinds := []struct {
		field, carries string
		protocols      []Protocol
		routes         func(*virtualService) int
	}{
		{"spec.http", "HTTP", []Protocol{HTTP, HTTP2, Unset}, func(v *virtualService) int { return len(v.http) }},
		{"spec.tls", "TLS", []Protocol{TLS, HTTP, HTTP2, Unset}, func(v *virtualService) int { return len(v.tls) }},
		{"spec.tcp", "TCP", []Protocol{TCP, Unset}, func(v *virtualService) int { return len(v.tcp) }},
	}
	for _, v := range c.snapshot.virtuals {
		found := c.protocolsOf(v)
		for _, k := range kinds {
			carried := slices.ContainsFunc(k.protocols, func(p Protocol) bool { return found[p] })
			if k.routes(v) > 0 && len(found) > 0 && !carried {
				c.warn(v.resource, k.field, "", "never used: no ServiceEntry of %s has a port that carries %s; change the port's protocol or the kind of route",
					strings.Join(v.hosts, ", "), k.carries)
			}
		}
	}
}

// protocolsOf is what the ports of a VirtualService's hosts carry; nothing when
// that cannot be told for all of them.
func (c *crossCheck) protocolsOf(v *virtualService) map[Protocol]bool {
	found := make(map[Protocol]bool)
	for _, host := range v.hosts {
		_, entry := c.all.resolve(host, v.namespace)
		if entry == nil {
			return nil
		}
		for _, p := range entry.ports {
			found[p.protocol] = true
		}
	}
	return found
}

// idleOrigination finds rules that would originate TLS for a host to which only
// TLS can be sent: what is TLS already is not wrapped again.
func (c *crossCheck) idleOrigination() {
	routed := c.routedHosts()
	for namespace, byHost := range c.snapshot.rules {
		for host, rules := range byHost {
			full, entry := c.all.resolve(host, namespace)
			if entry == nil || entry.host != full || routed[full] {
				continue
			}
			onlyTLS := !slices.ContainsFunc(entry.ports, func(p registeredPort) bool { return p.protocol != TLS })
			for _, r := range rules {
				if onlyTLS && r.originates() {
					c.warn(r.resource, "spec.trafficPolicy", "", "originates TLS for %s, whose ports carry TLS already: that passes as it is; declare the port HTTP and let clients speak plain HTTP to it, or remove tls", host)
				}
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
	if r.policy.tls != nil {
		return true
	}
	for _, p := range r.ports {
		if p.tls != nil {
			return true
		}
	}
	return false
}
