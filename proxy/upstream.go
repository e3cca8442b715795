package proxy

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/nowait"
)

// upstream is the live side of a cluster: its idle connections and its TLS
// settings made ready. It outlives snapshots that leave the cluster as it is.
type upstream struct {
	server  *Server
	cluster *mesh.Cluster // the first; what a connection is is the same in all
	newest  atomic.Pointer[mesh.Cluster]
	turn    atomic.Uint32
	open    atomic.Int64 // connections, in use and idle
	lying   atomic.Int64 // those that are idle in lanes
	tls     origination
	fleets  fleets
	others  target    // all beyond maxTargets
	looksAt time.Time // when it ends idle connections; belongs to the pools' expiries
	breaker

	ejecting    sync.Mutex
	first       time.Time    // when a target was first ejected
	lastEjected atomic.Int64 // when the last ejection ends, Unix nanoseconds; 0: none is ejected

	knowing sync.RWMutex
	targets map[netip.AddrPort]*target

	mu      sync.Mutex
	lanes   []lanePool // what lanes keep for themselves; each touches its own
	idle    map[poolKey][]*upstreamConn
	h2      map[poolKey]*h2Group
	retired bool
	left    atomic.Bool // retired, for lanes
	ledBy   uint64      // the newest generation that is known to lead to it
	leftAt  time.Time   // when a sweep first found one that does not
}

// poolKey tells connections apart that must not be mixed up: another address, or
// another name that was verified.
type poolKey struct {
	addr netip.AddrPort
	sni  string
}

// upstreamConn is one connection to an endpoint.
type upstreamConn struct {
	net.Conn // the TCP connection, or TLS over it
	tcp      *net.TCPConn
	under    *underTLS // what TLS runs over, nil without
	up       *upstream
	key      poolKey
	target   *target // what is known of its address
	local    netip.AddrPort
	in       buffer
	read     deadline
	write    deadline
	reused   bool
	busy     atomic.Bool // it carries something
	uses     uint32      // requests that it has carried
	closed   atomic.Bool
	since    time.Time // idle since
	born     time.Time
	raw      syscall.RawConn
	alive    bool
	probe    func(uintptr)
	fd       int // the socket, while tcp is nil: Go does not poll it
}

// take returns an idle connection that is still open, nil when there is none.
func (u *upstream) take(key poolKey) *upstreamConn {
	for {
		u.mu.Lock()
		idle := u.idle[key]
		if len(idle) == 0 {
			u.mu.Unlock()
			return nil
		}
		c := idle[len(idle)-1]
		idle[len(idle)-1] = nil
		u.idle[key] = idle[:len(idle)-1]
		u.mu.Unlock()
		if !c.expired(time.Now()) && c.open() {
			c.use()
			c.reused = true
			return c
		}
		c.close()
	}
}

// use and rest say whether a connection carries a request, or opaque bytes: by that
// the least busy host is known. HTTP/2 counts its streams instead.
func (c *upstreamConn) use() {
	if !c.busy.Swap(true) {
		c.uses++
		c.target.active.Add(1)
	}
}

func (c *upstreamConn) rest() {
	if c.busy.Swap(false) {
		c.target.active.Add(-1)
	}
}

// spent says that a connection has carried as many requests as one may.
func (c *upstreamConn) spent() bool {
	most := c.up.latest().Limits.PerConnection
	return most > 0 && c.uses >= most
}

// put keeps a connection for another request.
func (u *upstream) put(c *upstreamConn) {
	c.read.cap(time.Time{})
	c.rest()
	c.in.release()
	c.since = time.Now()
	ends := u.ends(c.since, c.born) // before it is another's
	if c.spent() || c.old(c.since) || !c.quiet() || !u.keep(c) {
		c.close()
		return
	}
	u.expireAt(ends)
	u.freed() // it gives way to who waits for one of another name or address
}

func (u *upstream) keep(c *upstreamConn) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.retired {
		return false
	}
	if u.idle == nil {
		u.idle = map[poolKey][]*upstreamConn{}
	}
	if !u.handOver(c) {
		u.idle[c.key] = append(u.idle[c.key], c)
	}
	return true
}

// open asks the kernel whether the peer has closed an idle connection, or sent
// something nobody asked for: either way it is of no use.
func (c *upstreamConn) open() bool {
	c.alive = false
	if err := c.raw.Control(c.probe); err != nil {
		return false
	}
	return c.alive
}

func (c *upstreamConn) peek(fd uintptr) {
	_, errno := peek(fd)
	c.alive = errno == unix.EAGAIN
}

// close ends the connection; TLS says goodbye first, without waiting.
func (c *upstreamConn) close() {
	switch {
	case c.tcp == nil && c.fd < 0: // bePolled closed it
	case c.tcp == nil:
		nowait.Close(c.fd)
	case c.Conn != net.Conn(c.tcp):
		c.SetWriteDeadline(time.Now().Add(time.Second))
		c.Close()
	default:
		c.Close()
	}
	c.in.release()
	c.ended()
}

// ended takes a connection off the books, once.
func (c *upstreamConn) ended() {
	c.rest()
	if !c.closed.Swap(true) {
		c.up.open.Add(-1)
		c.up.server.descriptors.giveBack(1)
		c.up.gone(c.target)
		c.up.server.ownConn.remove(c.ends())
	}
}

func (c *upstreamConn) ends() ends {
	return ends{c.local, netip.AddrPortFrom(c.key.addr.Addr().Unmap(), c.key.addr.Port())}
}

// connect opens a connection and, where the cluster says so, TLS over it. Both
// together have the cluster's connect timeout. alpn is offered in TLS.
func (u *upstream) connect(ctx context.Context, key poolKey, alpn []string) (*upstreamConn, error) {
	u.begun(u.target(key.addr))
	return u.dial(ctx, key, alpn)
}

// dial is connect for a connection that is counted already.
func (u *upstream) dial(ctx context.Context, key poolKey, alpn []string) (*upstreamConn, error) {
	ctx, cancel := context.WithTimeout(ctx, u.connectTimeout())
	defer cancel()
	s := u.server
	if err := u.tls.ready(); err != nil {
		u.gone(u.target(key.addr))
		return nil, u.notReady(err)
	}
	if err := s.mayConnect(ctx, pooled{}); err != nil {
		u.gone(u.target(key.addr))
		return nil, err
	}
	defer s.connects.giveBack(1)
	tcp, err := s.cfg.Dial(ctx, key.addr)
	if noneLeft(err) {
		s.pools.crowd.relieve(ctx)
		tcp, err = s.cfg.Dial(ctx, key.addr)
	}
	if err != nil {
		s.descriptors.giveBack(1)
		u.gone(u.target(key.addr))
		return nil, u.notMade(err)
	}
	return u.over(ctx, tcp, key, alpn)
}

// over makes a TCP connection, counted already, one of the upstream's, with TLS where the cluster says so.
func (u *upstream) over(ctx context.Context, tcp *net.TCPConn, key poolKey, alpn []string) (_ *upstreamConn, err error) {
	s := u.server
	c := &upstreamConn{Conn: tcp, tcp: tcp, up: u, key: key, target: u.target(key.addr), local: addrPort(tcp.LocalAddr()), born: time.Now()}
	c.in.memory = &s.memory
	s.ownConn.add(c.ends(), lastPass)
	u.open.Add(1)
	c.probe = c.peek
	c.read.set, c.write.set = tcp.SetReadDeadline, tcp.SetWriteDeadline
	if c.raw, err = tcp.SyscallConn(); err == nil {
		c.raw.Control(func(fd uintptr) { u.keepAlive(int(fd)) })
	}
	if err == nil && u.cluster.TLS != nil {
		under := &underTLS{TCPConn: tcp}
		c.Conn, err = u.tls.handshake(ctx, under, key.sni, alpn)
		if err == nil {
			c.under = under
		} else {
			err = &connectError{err: err, tls: true}
		}
	}
	if err != nil {
		s.observe(Event{Kind: ConnectFailed, Cluster: u.cluster, Failure: failureOf(err)})
		c.Conn = tcp
		c.close()
		return nil, err
	}
	return c, nil
}

func (u *upstream) connectTimeout() time.Duration {
	if timeout := u.latest().ConnectTimeout; timeout != 0 {
		return timeout
	}
	return defaultConnectTimeout
}

// latest is the cluster as the newest configuration has it: how connections are used
// may have changed since this upstream was made.
func (u *upstream) latest() *mesh.Cluster {
	if c := u.newest.Load(); c != nil {
		return c
	}
	return u.cluster
}

// notMade tells of a TCP connection that could not be made, and is its error.
func (u *upstream) notMade(err error) error {
	if noneLeft(err) {
		return noDescriptors
	}
	failed := &connectError{err: err}
	u.server.observe(Event{Kind: ConnectFailed, Cluster: u.cluster, Failure: failed.kind()})
	return failed
}

// notReady tells of TLS that cannot be begun for want of what it is made from, and is
// its error.
func (u *upstream) notReady(err error) error {
	failed := &connectError{err: err, tls: true}
	u.server.observe(Event{Kind: ConnectFailed, Cluster: u.cluster, Failure: failed.kind()})
	return failed
}

// retire closes the idle connections; those in use are closed when they come back.
func (u *upstream) retire() {
	defer u.retireHTTP2()
	defer u.tls.release()
	u.mu.Lock()
	idle := u.idle
	u.idle, u.retired = nil, true
	u.left.Store(true)
	u.mu.Unlock()
	for _, conns := range idle {
		for _, c := range conns {
			c.close()
		}
	}
}
