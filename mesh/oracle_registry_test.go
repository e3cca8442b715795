package mesh

import "net/netip"

func newOldRegistry() *oldRegistry {
	return &oldRegistry{hosts: make(hostIndex[*registered]), parents: make(map[string]struct{})}
}

func (g *oldRegistry) add(s *service, host string) {
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

// resolve finds a host that a resource in a namespace names: as written, else as
// the full name of a short one. It gives the name that was found, which is more
// exact than the entry's where that is a wildcard.
func (g *oldRegistry) resolve(host, namespace string) (string, *registered) {
	if entry, ok := g.hosts.find(host); ok {
		return host, entry
	}
	full := newZone("").qualify(host, namespace)
	if entry, ok := g.hosts.find(full); ok {
		return full, entry
	}
	return host, nil
}

// knows says whether any name of a host, or under it, is registered.
func (g *oldRegistry) knows(host string) bool {
	if _, ok := g.hosts.find(host); ok {
		return true
	}
	_, ok := g.parents[host]
	return ok
}

func (b *oldBuilder) addNames(v *oldView) {
	v.names = make(hostIndex[*Name], len(b.visible.order))
	v.byVirtual = make(map[netip.Addr]string)
	for _, entry := range b.visible.order {
		n := &Name{Host: entry.host, Addresses: ownAddresses(entry)}
		if len(n.Addresses) == 0 {
			n.Addresses = b.virtualOf(entry.host)
			n.Virtual = len(n.Addresses) > 0
		}
		v.names[entry.host] = n
		if n.Virtual {
			for _, a := range n.Addresses {
				v.byVirtual[a] = entry.host
			}
		}
	}
	for _, virtual := range b.virtuals {
		for _, written := range virtual.hosts {
			host, _ := b.visible.resolve(written, virtual.namespace)
			if v.names[host] == nil {
				v.names[host] = &Name{Host: host}
			}
		}
	}
}
