package proxy

import (
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http2"
	"github.com/sluice-cni/sluice/proxy/loop"
	"github.com/sluice-cni/sluice/proxy/nowait"
)

// connection is one connection that was redirected to the proxy.
type connection struct {
	server *Server
	tcp    *net.TCPConn   // nil while it has to wait for nothing: then it is
	fd     int            // a socket that Go does not poll
	src    netip.AddrPort // the application's end
	dst    netip.AddrPort // where it was going
	at     *lane          // on whose loop it is served, nil on a goroutine of its own
	in     buffer
	seen   atomic.Uint32 // a seen: what others may know of it

	upstream atomic.Pointer[net.TCPConn]  // the other side of what is under way
	carriage atomic.Pointer[carriage]     // of opaque bytes
	cluster  atomic.Pointer[mesh.Cluster] // of the last HTTP request
	giveUp   atomic.Pointer[func()]       // the same as upstream where the other side is shared
	h2       atomic.Pointer[http2.Conn]   // of a connection that speaks HTTP/2

	lane    atomic.Pointer[laneConn] // where it is now, unless with a goroutine
	handed  bool                     // the relay engine ends it, not its goroutine
	arrives bool                     // it goes to a lane, to wait for its first bytes
	parks   bool                     // it goes to a lane when its goroutine has ended
	stays   bool                     // it was to go to a lane, and could not
	left    uint8                    // how often it came back
	penance uint16                   // requests before it may go again
	passes  uint8                    // how often what it brings has passed through here already

	deadline deadline // on reads from tcp
}

// serve takes a connection from its first byte to its last.
func (c *connection) serve() {
	s := c.server
	s.observe(Event{Kind: ConnectionAccepted}) // here, where a fault of its own ends the connection
	dst, err := s.cfg.OriginalDst(c.fd, c.src)
	if err != nil {
		s.notices.sayLater(noticeKey{reason: "destination", name: err.Error()}, func() notice {
			return notice{level: slog.LevelWarn, message: "connection refused", about: append(s.whose(), "source", c.src, "error", err)}
		})
		c.abort()
		return
	}
	c.dst = dst
	c.seen.Store(uint32(seenDestination))
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

// dispatch finds out what the connection speaks and who serves that: by what is here
// of its first bytes, or (laneConn.arrive) once they have come.
func (c *connection) dispatch(st *state) {
	l := st.view.Listener(c.dst.Port())
	if l != nil && l.DeclaredTCP(c.dst.Addr()) {
		if !c.refusedAsLoop() {
			c.seen.Store(uint32(seenTCP))
			c.serveTCP(st)
		}
		return
	}
	err := c.in.fill(&sock{c.fd})
	switch k := sniff(c.in.bytes()); {
	case err == nil && k != unknown:
		c.proceed(st, l, k)
	case err == nil, err == unix.EAGAIN: // the rest comes later
		c.arrives = true
	}
}

// proceed serves a connection of a kind that is known.
func (c *connection) proceed(st *state, l *mesh.Listener, k kind) {
	if c.refusedAsLoop() {
		return
	}
	switch {
	case k == isTLS:
		c.seen.Store(uint32(seenTLS))
		c.serveTLS(st)
	case k == isHTTP1 && l.ReadsHTTP(c.dst.Addr()):
		c.seen.Store(uint32(seenHTTP1))
		c.serveHTTP()
	case k == isHTTP2 && l.ReadsHTTP(c.dst.Addr()):
		c.seen.Store(uint32(seenHTTP2))
		c.serveHTTP2()
	case k == isOpaque && l != nil && l.HTTP && l.MatchTCP(c.dst.Addr()) == nil && !st.view.Passes():
		c.refuseGarbage()
	default:
		c.seen.Store(uint32(seenTCP))
		c.serveTCP(st)
	}
}

// patience is how long a client's first byte is waited for. One that stays silent
// longer than is usual for one that speaks first is taken for opaque.
func (c *connection) patience(st *state, l *mesh.Listener) time.Duration {
	switch {
	case l == nil || !l.HTTP && !l.TLS || l.MatchTCP(c.dst.Addr()) != nil:
		return c.server.patience.silent
	case st.view.Passes():
		return patientSniffTimeout
	}
	return idleTimeout
}

// speaksFirst says that nothing is possible where this connection goes but protocols whose
// client speaks first.
func (c *connection) speaksFirst(st *state) bool {
	return c.patience(st, st.view.Listener(c.dst.Port())) == idleTimeout
}

// refusedAsLoop refuses a connection that the proxy itself has made and that rules
// sent back to it: serving it would never end. One that is just being made is not
// known yet; so it is asked again once there is a connection upstream.
func (c *connection) refusedAsLoop() bool {
	if c.passes = c.server.ownConn.passes(ends{c.src, c.dst}); c.passes < lastPass {
		return false
	}
	e := c.entry("tcp")
	e.refusal = Loop
	c.refuse(e)
	return true
}

// pass is that of a connection which carries on what this one brings.
func (c *connection) pass() uint8 { return c.passes + firstPass }

// abort ends the connection with a reset: the application sees at once that it
// was refused or cut, and no half answer passes for a whole one.
func (c *connection) abort() {
	switch {
	case c.tcp != nil:
		cut(c.tcp)
	case c.fd >= 0:
		nowait.Reset(c.fd)
		c.fd = -1
	}
}

// mayWait is called before anything that can take its time. A connection begins on an
// event loop's goroutine; from here on this goroutine is its own, and the loop has
// another.
func (c *connection) mayWait() {
	if c.at != nil {
		c.at.loop.HandOver()
		c.at = nil
	}
}

// closeSocket closes the connection, if it is open.
func (c *connection) closeSocket() {
	switch {
	case c.tcp != nil:
		c.tcp.Close()
	case c.fd >= 0:
		nowait.Close(c.fd)
		c.fd = -1
	}
}

// bePolled gives the connection to Go's netpoller: there is something to wait for.
// After an error it is closed.
func (c *connection) bePolled() error {
	if c.tcp != nil {
		return nil
	}
	c.mayWait()
	tcp, err := loop.Attach(c.fd)
	if err != nil {
		c.fd = -1
		c.server.sayOverload(noDescriptors.Error())
		return noDescriptors
	}
	c.polledBy(tcp)
	if c.server.life.Err() != nil { // the end of a drain may have missed it
		cut(tcp)
		return net.ErrClosed
	}
	return nil
}

// polledBy says that tcp has the connection's socket now.
func (c *connection) polledBy(tcp *net.TCPConn) {
	c.server.mu.Lock() // the end of a drain looks at it from outside
	c.tcp, c.fd = tcp, -1
	c.server.mu.Unlock()
	c.deadline.rebind(tcp.SetReadDeadline)
}

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
	c.mayWait() // for the log
	e.flags = "UH"
	c.server.record(e) // before the application can ask why
	c.abort()
}
