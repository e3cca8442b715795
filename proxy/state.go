package proxy

import (
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/nowait"
)

// state is a snapshot in force, and the way from its clusters to their pools.
type state struct {
	view  *mesh.View
	pools *pools
	// generation counts the snapshots; a pool knows the last one that leads to it.
	generation uint64
	namespace  string   // the workload's
	clusters   sync.Map // *mesh.Cluster ▸ *upstream
}

// upstream returns the live side of a cluster; it is made at first use.
func (st *state) upstream(c *mesh.Cluster) *upstream {
	if u, ok := st.clusters.Load(c); ok {
		return u.(*upstream)
	}
	u := st.pools.get(c, st.generation, st.namespace)
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

	connecting sync.RWMutex // held for reading by those that have a connection which is not in open yet
}

// connect begins a connection and knows it before anybody can ask whether it is ours:
// over loopback it comes back within the system call.
func (o *ownConns) connect(fd int, dst netip.AddrPort) (local netip.AddrPort, err error) {
	o.connecting.RLock()
	defer o.connecting.RUnlock()
	if errno := nowait.Connect(fd, dst); errno != 0 && errno != unix.EINPROGRESS && errno != unix.EINTR {
		return local, os.NewSyscallError("connect", errno)
	}
	local, errno := nowait.LocalAddr(fd)
	if errno != 0 {
		return local, os.NewSyscallError("getsockname", errno)
	}
	o.add(ends{local, dst})
	return local, nil
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
	o.connecting.Lock() // whatever is being made now has come as far as open
	defer o.connecting.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.open[e]
	return ok
}
