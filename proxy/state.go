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

// ends are the two ends of a connection, which no other has at the same time.
type ends struct{ local, remote netip.AddrPort }

// ownConns are the connections that the proxy itself has open. One that arrives
// with the ends of such a connection was made by the proxy and sent back by rules
// that do not exempt it: serving it would go round for ever. Its source alone does
// not tell: the application shares the address, and the kernel gives one port to
// connections of both, as long as they go to different places.
type ownConns struct {
	mu   sync.Mutex
	open map[ends]struct{}
}

func (o *ownConns) add(e ends) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		o.open = map[ends]struct{}{}
	}
	o.open[e] = struct{}{}
}

func (o *ownConns) remove(e ends) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.open, e)
}

func (o *ownConns) has(e ends) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.open[e]
	return ok
}
