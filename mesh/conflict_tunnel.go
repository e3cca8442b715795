package mesh

// tunnels finds tunnels that nothing goes through: they carry TCP and TLS, not HTTP.
func (c *crossCheck) tunnels() {
	var opaque map[string]bool
	for key, rules := range c.snapshot.rulesOf.all() {
		for _, r := range rules {
			field := r.tunnelField()
			if field == "" {
				continue
			}
			if opaque == nil {
				opaque = c.opaqueDestinations()
			}
			for host, entry := range c.ruled(r, key.namespace) {
				if !opaque[host] && !entry.carriesOpaque() {
					c.warn(r.resource, field, "", "has no effect: only TCP and TLS go through a tunnel, and what is sent to %s is HTTP; lead tls or tcp routes of a VirtualService there", host)
				}
			}
		}
	}
}

// opaqueDestinations are the destinations of tls and tcp routes.
func (c *crossCheck) opaqueDestinations() map[string]bool {
	out := make(map[string]bool)
	add := func(v *virtualService, list []destination) {
		for _, d := range list {
			host, _ := c.all.resolve(d.host, v.namespace)
			out[host] = true
		}
	}
	for _, v := range c.snapshot.virtuals {
		for _, r := range v.tls {
			add(v, r.destinations)
		}
		for _, r := range v.tcp {
			add(v, r.destinations)
		}
	}
	return out
}

func (r *registered) carriesOpaque() bool {
	for _, p := range r.ports {
		if p.protocol != HTTP && p.protocol != HTTP2 {
			return true
		}
	}
	return false
}

// tunnelField is where the rule's first tunnel is, "" for none.
func (r *rule) tunnelField() string {
	for path, policy := range policiesOf(r.spec()) {
		if policy.Tunnel != nil {
			return path + ".tunnel"
		}
	}
	return ""
}
