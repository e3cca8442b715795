package mesh

import (
	"cmp"
	"slices"
	"strings"
)

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

// newRegistered is a host of services, the oldest first, each once.
func newRegistered(host string, services []*service) *registered {
	r := &registered{host: host, services: services}
	for _, s := range services {
		for _, p := range s.ports {
			if _, taken := r.on(p.number); !taken {
				r.ports = append(r.ports, registeredPort{p, s})
			}
		}
	}
	return r
}

func (r *registered) on(port uint16) (registeredPort, bool) {
	for _, p := range r.ports {
		if p.number == port {
			return p, true
		}
	}
	return registeredPort{}, false
}

// older compares hosts by when they were registered first.
func older(a, b *registered) int {
	first, second := a.services[0], b.services[0]
	if first != second {
		return first.compare(second.rank)
	}
	return cmp.Compare(slices.Index(first.hosts, a.host), slices.Index(second.hosts, b.host))
}

// finder finds the entry of a host, exactly that one's; nil is none.
type finder func(host string) *registered

// find finds a host's entry or that of the longest wildcard over it.
func (f finder) find(host string) *registered {
	if entry := f(host); entry != nil {
		return entry
	}
	for wildcard := range wildcardsOver(host) {
		if entry := f(wildcard); entry != nil {
			return entry
		}
	}
	return nil
}

// resolve finds a host that a resource in a namespace names: as written, else as
// the full name of a short one. It gives the name that was found, which is more
// exact than the entry's where that is a wildcard.
func (f finder) resolve(host, namespace string, z zone) (string, *registered) {
	if entry := f.find(host); entry != nil {
		return host, entry
	}
	if full := z.qualify(host, namespace); full != host {
		if entry := f.find(full); entry != nil {
			return full, entry
		}
	}
	return host, nil
}

// registry is all hosts, whoever sees them, for the look at all resources together.
type registry struct {
	snapshot *Snapshot
	reversed []*registered // sorted by their names backwards, so that those under one name are together
}

func newRegistry(s *Snapshot) *registry {
	g := &registry{snapshot: s}
	for _, h := range s.hosts.all() {
		g.reversed = append(g.reversed, &h.registered)
	}
	slices.SortFunc(g.reversed, func(a, b *registered) int { return compareBackwards(a.host, b.host) })
	return g
}

func (g *registry) entry(name string) *registered {
	if h := g.snapshot.hosts.at(name); h != nil {
		return &h.registered
	}
	return nil
}

func (g *registry) resolve(host, namespace string) (string, *registered) {
	return finder(g.entry).resolve(host, namespace, g.snapshot.zone)
}

// knows says whether any name of a host, or under it, is registered.
func (g *registry) knows(host string) bool {
	if finder(g.entry).find(host) != nil {
		return true
	}
	_, ok := g.snapshot.parents.get(host)
	return ok
}

// under gives the hosts that a wildcard covers, itself included.
func (g *registry) under(wildcard string) []*registered {
	suffix := wildcard[1:]
	from, _ := slices.BinarySearchFunc(g.reversed, suffix, func(r *registered, suffix string) int { return compareBackwards(r.host, suffix) })
	var out []*registered
	for _, r := range g.reversed[from:] {
		if !strings.HasSuffix(r.host, suffix) {
			break
		}
		if covers(wildcard, r.host) {
			out = append(out, r)
		}
	}
	return out
}

// compareBackwards orders names by their last bytes first.
func compareBackwards(a, b string) int {
	for i := 1; i <= min(len(a), len(b)); i++ {
		if c := cmp.Compare(a[len(a)-i], b[len(b)-i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}
