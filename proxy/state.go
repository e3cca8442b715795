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

// Passes of connections that the proxy has made.
const (
	firstPass  uint8 = 1
	mostPasses uint8 = 2
	lastPass   uint8 = mostPasses + 1 // it is refused if it comes back
)

// ownConns are the connections that the proxy itself has open. One that arrives
// with the ends of such a connection was made by the proxy and sent back by rules
// that do not exempt it: serving it would go round for ever. Its source alone does
// not tell: the application shares the address, and the kernel gives one port to
// connections of both, as long as they go to different places.
//
// A few come back under right rules too. Whom the proxy resets frees its port at once,
// and for 10 s (nf_conntrack_tcp_timeout_close) conntrack still has its connection, redirect
// included: a SYN reopens one that a FIN or the client's own reset has ended
// (nf_conntrack_proto_tcp.c), not one that the other end has reset. Where the proxy's next
// connection to the same place gets that port, it follows the redirect. Carried once more,
// from another port, it arrives; so opaque ones may come back mostPasses times.
type ownConns struct {
	mu   sync.Mutex
	open map[ends]uint8 // how often what it carries has passed through here

	connecting sync.RWMutex // held for reading by those that have a connection which is not in open yet
}

// connect begins a connection and knows it before anybody can ask whether it is ours:
// over loopback it comes back within the system call.
func (o *ownConns) connect(fd int, dst netip.AddrPort, passes uint8) (local netip.AddrPort, err error) {
	o.connecting.RLock()
	defer o.connecting.RUnlock()
	if errno := nowait.Connect(fd, dst); errno != 0 && errno != unix.EINPROGRESS && errno != unix.EINTR {
		return local, os.NewSyscallError("connect", errno)
	}
	local, errno := nowait.LocalAddr(fd)
	if errno != 0 {
		return local, os.NewSyscallError("getsockname", errno)
	}
	o.add(ends{local, dst}, passes)
	return local, nil
}

func (o *ownConns) add(e ends, passes uint8) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		o.open = map[ends]uint8{}
	}
	o.open[e] = passes
}

func (o *ownConns) remove(e ends) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.open, e)
}

// passes is how often what a connection carries has passed through here, 0 where the
// connection is not the proxy's own.
func (o *ownConns) passes(e ends) uint8 {
	o.connecting.Lock() // whatever is being made now has come as far as open
	defer o.connecting.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open[e]
}
