package proxy

import (
	"net/netip"
	"sync"

	"github.com/sluice-cni/sluice/mesh"
)

// state is a snapshot in force, and the way from its clusters to their pools.
type state struct {
	view  *mesh.View
	pools *pools
	// generation counts the snapshots; a pool knows the last one that used it.
	generation uint64
	clusters   sync.Map // *mesh.Cluster ▸ *upstream
}

// upstream returns the live side of a cluster; it is made at first use.
func (st *state) upstream(c *mesh.Cluster) *upstream {
	if u, ok := st.clusters.Load(c); ok {
		return u.(*upstream)
	}
	u := st.pools.get(c, st.generation)
	st.clusters.Store(c, u)
	return u
}

// localPorts are the source addresses of connections the proxy itself has open.
// A connection that arrives from one of them was made by the proxy and sent back
// by rules that do not exempt it: serving it would never end.
type localPorts struct {
	mu   sync.Mutex
	open map[netip.AddrPort]struct{}
}

func (p *localPorts) add(a netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = map[netip.AddrPort]struct{}{}
	}
	p.open[a] = struct{}{}
}

func (p *localPorts) remove(a netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, a)
}

func (p *localPorts) has(a netip.AddrPort) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.open[a]
	return ok
}
