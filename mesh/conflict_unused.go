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
