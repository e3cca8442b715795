package proxy

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http2"
	"github.com/sluice-cni/sluice/proxy/relay"
)

// connection is one connection that was redirected to the proxy.
type connection struct {
	server *Server
	tcp    *net.TCPConn
	src    netip.AddrPort // the application's end
	dst    netip.AddrPort // where it was going
	in     buffer
	idle   atomic.Bool // nothing under way: may be closed when draining

	upstream atomic.Pointer[net.TCPConn] // the other side of what is under way
	pair     atomic.Pointer[relay.Pair]  // what it became, once the relay engine has it
	handed   bool                        // the engine ends it, not its goroutine
	giveUp   atomic.Pointer[func()]      // the same where the other side is shared
	h2       atomic.Pointer[http2.Conn]  // of a connection that speaks HTTP/2

	lane    atomic.Pointer[laneConn] // where it is now, unless with a goroutine
	parks   bool                     // it goes to a lane when its goroutine has ended
	stays   bool                     // it was to go to a lane, and could not
	left    uint8                    // how often it came back
	penance uint16                   // requests before it may go again

	deadline deadline // on reads from tcp
}

// serve takes a connection from its first byte to its last.
func (c *connection) serve() {
	s := c.server
	c.src = addrPort(c.tcp.RemoteAddr())
	dst, err := s.cfg.OriginalDst(c.tcp)
	if err != nil {
		s.log.Warn("connection refused", "source", c.src, "error", err)
		c.abort()
		return
	}
	c.dst = dst
	c.deadline.set = c.tcp.SetReadDeadline
	switch st := s.state.Load(); {
	case s.cfg.Governed != nil && !s.cfg.Governed(dst):
		c.relayUngoverned()
	case st == nil:
		e := c.entry("tcp")
		e.refusal = Unconfigured
		c.refuse(e)
	default:
		c.dispatch(st)
	}
}

// dispatch finds out what the connection speaks and who serves that.
func (c *connection) dispatch(st *state) {
	l := st.view.Listener(c.dst.Port())
	if l != nil && l.DeclaredTCP(c.dst.Addr()) {
		if !c.refusedAsLoop() {
			c.serveTCP(st, l)
		}
		return
	}
	k, err := c.sniff(st, l)
	if err != nil {
		return // the client left before it said anything
	}
	if c.refusedAsLoop() {
		return
	}
	switch {
	case k == isTLS:
		c.serveTLS(st, l)
	case k == isHTTP1 && c.speaksHTTP(st, l):
		c.serveHTTP()
	case k == isHTTP2 && c.speaksHTTP(st, l):
		c.serveHTTP2()
	case k == isOpaque && l != nil && l.HTTP && l.MatchTCP(c.dst.Addr()) == nil && st.view.Policy == mesh.RegistryOnly:
		c.refuseGarbage()
	default:
		c.serveTCP(st, l)
	}
}

// speaksHTTP says whether bytes that look like HTTP are to be read as HTTP: not
// where only an opaque protocol is declared.
func (c *connection) speaksHTTP(st *state, l *mesh.Listener) bool {
	return l == nil || l.HTTP || l.Unset || l.MatchTCP(c.dst.Addr()) == nil
}

// sniff waits for enough bytes to tell the protocol. A client that stays silent
// longer than is usual for one that speaks first is taken for opaque.
func (c *connection) sniff(st *state, l *mesh.Listener) (kind, error) {
	c.deadline.at(time.Now().Add(c.patience(st, l)))
	defer c.deadline.at(time.Time{})
	for {
		if k := sniff(c.in.bytes()); k != unknown {
			return k, nil
		}
		waiting := c.in.len() == 0
		c.idle.Store(waiting)
		if waiting && c.server.draining.Load() {
			return unknown, net.ErrClosed
		}
		err := c.in.fill(c.tcp)
		c.idle.Store(false)
		switch {
		case err != nil && c.server.draining.Load():
			return unknown, err
		case err == nil && waiting:
			c.deadline.at(time.Now().Add(headTimeout))
		case isTimeout(err):
			return isOpaque, nil
		case err != nil && c.in.len() > 0:
			return isOpaque, nil
		case err != nil:
			return unknown, err
		}
	}
}

func (c *connection) patience(st *state, l *mesh.Listener) time.Duration {
	switch {
	case l == nil || !l.HTTP && !l.TLS || l.MatchTCP(c.dst.Addr()) != nil:
		return sniffTimeout
	case st.view.Policy == mesh.AllowAny:
		return patientSniffTimeout
	}
	return idleTimeout
}

// refusedAsLoop refuses a connection that the proxy itself has made and that rules
// sent back to it: serving it would never end. One that is just being made is not
// known yet; so it is asked again once there is a connection upstream.
func (c *connection) refusedAsLoop() bool {
	if !c.server.ownConn.has(ends{c.src, c.dst}) {
		return false
	}
	e := c.entry("tcp")
	e.refusal = Loop
	c.refuse(e)
	return true
}

// abort ends the connection with a reset: the application sees at once that it
// was refused or cut, and no half answer passes for a whole one.
func (c *connection) abort() { cut(c.tcp) }

// contain is deferred by a connection's second goroutine: a fault there ends the
// connection, not the process.
func (c *connection) contain() {
	if fault := recover(); fault != nil {
		c.failed(fault)
	}
}

// failed reports a fault of ours and cuts both sides.
func (c *connection) failed(fault any) {
	c.server.log.Error("a connection failed inside the proxy; it was closed, others go on",
		"source", c.src, "destination", c.dst, "fault", fault, "stack", stack())
	if up := c.upstream.Load(); up != nil {
		cut(up)
	}
	c.abort()
}

// gone says that the application has closed or reset its side.
func (c *connection) gone() bool {
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return true
	}
	gone := true
	raw.Control(func(fd uintptr) { gone = ended(fd) })
	return gone
}

// refuse aborts a connection that policy does not let through, and says so.
func (c *connection) refuse(e *entry) {
	e.flags = "UH"
	c.server.record(e) // before the application can ask why
	c.abort()
}
