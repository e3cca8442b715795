package mesh

// tunnels finds tunnels that nothing goes through: they carry TCP and TLS, not HTTP.
func (c *crossCheck) tunnels() {
	var opaque map[string]bool
	for key, rules := range c.snapshot.rulesOf.all() {
		for _, r := range rules {
			if !r.tunnels() {
				continue
			}
			if opaque == nil {
				opaque = c.opaqueDestinations()
			}
			for host, entry := range c.ruled(r, key.namespace) {
				if !opaque[host] && !entry.carriesOpaque() {
					c.warn(r.resource, r.tunnelField(), "", "has no effect: only TCP and TLS go through a tunnel, and what is sent to %s is HTTP; lead tls or tcp routes of a VirtualService there", host)
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

func (r *rule) tunnelField() string {
	if r.traffic.GetTunnel() != nil {
		return "spec.trafficPolicy.tunnel"
	}
	for i, s := range r.subsets {
		if s.traffic.GetTunnel() != nil {
			return at("spec.subsets", i) + ".trafficPolicy.tunnel"
		}
	}
	return "spec.subsets"
}
