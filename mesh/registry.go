package mesh

// registry is the services that a namespace sees, by host.
type registry struct {
	hosts hostIndex[*registered]
	order []*registered
	// parents are all wildcards that cover a host of the registry.
	parents map[string]struct{}
}

// registered is one host and who serves it on each port.
type registered struct {
	host     string
	ports    []registeredPort // each number once: the oldest service has it
	services []*service       // the oldest first
}

type registeredPort struct {
	servicePort
	service *service
}

func newRegistry() *registry {
	return &registry{hosts: make(hostIndex[*registered]), parents: make(map[string]struct{})}
}

func (g *registry) add(s *service, host string) {
	entry := g.hosts[host]
	if entry == nil {
		entry = &registered{host: host}
		g.hosts[host] = entry
		g.order = append(g.order, entry)
		for wildcard := range wildcardsOver(host) {
			g.parents[wildcard] = struct{}{}
		}
	}
	entry.services = append(entry.services, s)
	for _, p := range s.ports {
		if _, taken := entry.on(p.number); !taken {
			entry.ports = append(entry.ports, registeredPort{p, s})
		}
	}
}

func (r *registered) on(port uint16) (registeredPort, bool) {
	for _, p := range r.ports {
		if p.number == port {
			return p, true
		}
	}
	return registeredPort{}, false
}

// resolve finds a host that a resource in a namespace names: as written, else as
// the full name of a short one. It gives the name that was found, which is more
// exact than the entry's where that is a wildcard.
func (g *registry) resolve(host, namespace string) (string, *registered) {
	if entry, ok := g.hosts.find(host); ok {
		return host, entry
	}
	full := qualify(host, namespace)
	if entry, ok := g.hosts.find(full); ok {
		return full, entry
	}
	return host, nil
}

// knows says whether any name of a host, or under it, is registered.
func (g *registry) knows(host string) bool {
	if _, ok := g.hosts.find(host); ok {
		return true
	}
	_, ok := g.parents[host]
	return ok
}
