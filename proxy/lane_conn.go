package proxy

import (
	"log/slog"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/loop"
	"github.com/sluice-cni/sluice/proxy/nowait"
)

// laneConn is an application's connection in a lane.
type laneConn struct {
	lane  *lane
	c     *connection
	sock  sock
	timer loop.Timer

	h  *httpConn     // the request under way; nil between two
	up *laneUpstream // who answers it

	phase    lanePhase
	entered  bool // the loop watches it
	readable bool // there may be bytes, or an end, to read
	ended    bool // there is an end to read, after what bytes there are
	blocked  bool // the application is not taking what we write
	yielded  bool // the answer goes on when the others on the loop had their turn
	reads    uint8
	served   uint16
}

type lanePhase uint8

const (
	arriving  lanePhase = iota // the first bytes, by which to know what it speaks
	awaiting                   // a request's head
	sending                    // it, upstream
	waiting                    // for the answer's head
	answering                  // bytes on their way to the application
)

// enter begins a connection's time in the lane.
func (lc *laneConn) enter() {
	defer lc.contain()
	s := lc.lane.server
	if s.life.Err() != nil {
		lc.cut()
		return
	}
	if err := lc.lane.loop.Add(lc.sock.fd, lc); err != nil {
		s.notices.sayLater(noticeKey{"loop", err.Error(), 0}, func() notice {
			return notice{level: slog.LevelWarn, message: "a connection was lost on its way to an event loop", about: []any{"error", err}}
		})
		lc.end()
		return
	}
	lc.entered = true
	if lc.phase == arriving {
		lc.awaitFirst()
		return
	}
	lc.next()
}

// contain is for what the loop does not call itself.
func (lc *laneConn) contain() {
	if fault := recover(); fault != nil {
		lc.Fault(fault)
	}
}

// Ready implements loop.Handler.
func (lc *laneConn) Ready(r loop.Readiness) {
	if r&(loop.Readable|loop.Ended) != 0 {
		lc.readable = true
	}
	news := r&loop.Ended != 0 && !lc.ended
	lc.ended = lc.ended || news
	switch {
	case lc.phase == arriving:
		lc.arrive()
	case lc.up != nil && r&loop.Reset != 0:
		lc.left()
	case lc.up != nil && news && lc.phase != answering:
		lc.expect()
	case lc.phase == awaiting && lc.readable:
		lc.read()
	case lc.phase == answering && lc.blocked && r&(loop.Writable|loop.Ended) != 0:
		lc.blocked = false
		lc.answer()
	}
}

// Fault implements loop.Handler: a fault here ends this connection only.
func (lc *laneConn) Fault(fault any) {
	c := lc.c
	c.server.log.Error("a connection failed inside the proxy; it was closed, others go on",
		"source", c.src, "destination", c.dst, "fault", fault, "stack", stack())
	lc.cut()
}

// next waits for another request, or takes up one that is already here.
func (lc *laneConn) next() {
	lc.phase = awaiting
	c := lc.c
	if c.in.len() > 0 { // the limit of the exchange before is none for this head
		lc.lane.loop.Set(&lc.timer, lc, lc.lane.loop.Now().Add(headTimeout))
		lc.parse()
		return
	}
	until := lc.lane.loop.Now().Add(idleTimeout)
	if c.server.draining.Load() {
		until = c.server.idleEnds(lc.lane.loop.Now())
	}
	lc.lane.loop.Set(&lc.timer, lc, until)
	if lc.readable {
		lc.read()
		return
	}
	c.in.release()
}

// read takes what the application has sent and looks for a request in it.
func (lc *laneConn) read() {
	c := lc.c
	first := c.in.len() == 0
	err := c.in.fill(&lc.sock)
	switch {
	case err == unix.EAGAIN:
		lc.readable = false
		if first {
			c.in.release()
		}
		return
	case err == errBufferFull, err == error(noMemory): // a goroutine answers that
		lc.leave(nil)
		return
	case err != nil: // the application is gone
		lc.end()
		return
	}
	if c.in.w < len(c.in.b) && !lc.ended {
		lc.readable = false // a short count: nothing is left, and more will be told
	}
	if first { // once: a head that comes byte by byte gets no more time
		lc.lane.loop.Set(&lc.timer, lc, lc.lane.loop.Now().Add(headTimeout))
	}
	lc.parse()
}

// parse looks for a whole request head among the bytes read. All but a proper one
// that can be forwarded at once is left to a goroutine, which begins anew with the
// same bytes.
func (lc *laneConn) parse() {
	c := lc.c
	if lc.h == nil {
		lc.h = lc.lane.httpConn()
		lc.h.c = c
	}
	n, bad := lc.h.req.Parse(c.in.bytes())
	switch {
	case bad != nil:
		lc.leave(nil)
	case n > 0:
		lc.forward(n)
	default:
		lc.drop()
		if lc.readable {
			lc.read()
		}
	}
}

// drop gives the httpConn back: nothing is under way.
func (lc *laneConn) drop() {
	if lc.h != nil {
		lc.lane.giveBack(lc.h)
		lc.h = nil
	}
}

// Expired implements loop.Timed.
func (lc *laneConn) Expired() {
	switch lc.phase {
	case arriving: // silent: it may be waiting for a server that speaks first
		if c := lc.c; c.in.len() == 0 && c.server.draining.Load() && c.speaksFirst(c.server.state.Load()) {
			lc.lastLook()
			return
		}
		lc.proceed(isOpaque)
	case awaiting:
		if lc.c.in.len() == 0 {
			lc.lastLook()
			return
		}
		lc.end()
	case sending, waiting:
		if at := lc.h.deadline(); lc.ended && (at.IsZero() || lc.lane.loop.Now().Before(at)) {
			lc.left()
			return
		}
		lc.leaveWith(errLaneTimeout)
	case answering:
		lc.fail(lc.timeout())
	}
}

// drain bounds a wait for bytes when the server stops; what is under way ends by itself.
func (lc *laneConn) drain() {
	switch {
	case !lc.entered || lc.c.in.len() > 0:
	case lc.phase == arriving:
		lc.awaitFirst()
	case lc.phase == awaiting:
		lc.next()
	}
}

// lastLook ends a connection that nothing has come on by now.
func (lc *laneConn) lastLook() {
	lc.readable = true
	if lc.phase == arriving {
		lc.arrive()
	} else {
		lc.read()
	}
	if lc.sock.fd >= 0 && lc.phase <= awaiting && lc.c.in.len() == 0 {
		lc.end()
	}
}

// cutIfHere resets the connection unless it has left meanwhile.
func (lc *laneConn) cutIfHere() {
	if lc.entered {
		lc.cut()
	}
}

// end closes the connection and forgets it.
func (lc *laneConn) end() {
	if lc.sock.fd < 0 {
		return
	}
	ln, c := lc.lane, lc.c
	ln.loop.Stop(&lc.timer)
	lc.release()
	c.in.release() // before its end can be seen: who opens another has the room
	ln.loop.CloseSocket(lc.sock.fd)
	lc.sock.fd, lc.entered = -1, false
	c.server.forget(c)
}

// cut ends it with a reset.
func (lc *laneConn) cut() {
	if lc.sock.fd >= 0 {
		unix.SetsockoptLinger(lc.sock.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	lc.end()
}

// release closes what an exchange under way held.
func (lc *laneConn) release() {
	if lc.up != nil {
		lc.lane.close(lc.up)
		lc.up = nil
	}
	lc.drop()
}

// leave hands the connection to a goroutine. serve is what it does first, and says
// whether requests may follow; nil is a request from its first byte.
func (lc *laneConn) leave(serve func(*httpConn) bool) { lc.depart(nil, serve) }

// depart is leave with an upstream connection, of which serve has the care.
func (lc *laneConn) depart(up *laneUpstream, serve func(*httpConn) bool) {
	ln, c, h := lc.lane, lc.c, lc.h
	ln.loop.Stop(&lc.timer)
	ln.loop.Remove(lc.sock.fd)
	fd := lc.sock.fd
	lc.sock.fd, lc.entered, lc.h = -1, false, nil
	if serve == nil && h != nil {
		ln.giveBack(h)
		h = nil
	}
	if h != nil {
		h.entry.hurried = false
	}
	c.unfit(lc.served)
	answered := lc.phase == answering
	go c.server.adopt(c, fd, up, h, serve, answered)
}

// adopt is a goroutine's life with a connection that has left a lane, perhaps with
// an upstream connection. A request that was not answered yet is told where no
// descriptor is left for it.
func (s *Server) adopt(c *connection, fd int, up *laneUpstream, h *httpConn, serve func(*httpConn) bool, answered bool) {
	s.run(c, func() {
		relieved := false
		tcp, err := loop.AttachOr(fd, func() (again bool) {
			if !relieved {
				relieved = true
				s.pools.crowd.relieve(s.life)
				return true
			}
			if !answered {
				c.overflowRaw(fd, h)
			}
			return false
		})
		if err != nil {
			up.abandon()
			return
		}
		c.polledBy(tcp)
		c.lane.Store(nil)
		if s.life.Err() != nil {
			up.abandon()
			c.abort()
			return
		}
		if serve == nil {
			c.serveHTTP()
			return
		}
		h.write.rebind(tcp.SetWriteDeadline)
		c.serveRequests(h, serve)
	})
}

// overflowRaw answers a request that no descriptor is left for. h is nil where it was
// not read to its end.
func (c *connection) overflowRaw(fd int, h *httpConn) {
	e := c.entry("http")
	if h != nil {
		e = &h.entry
	}
	e.fail(noDescriptors)
	e.status = 503
	nowait.Send(fd, overflowBytes())
	c.server.record(e)
}

// A connection that keeps leaving its lane gains nothing from going back: it stays
// with its goroutine for twice as many requests each time.
const (
	maxPenance  = 10 // doublings
	goodService = 64 // requests in a lane after which all is forgiven
)

func (c *connection) unfit(served uint16) {
	if served >= goodService {
		c.left = 0
	}
	c.penance = 1<<c.left - 1
	c.left = min(c.left+1, maxPenance)
}

// mayPark counts a request that a lane could have served, and says whether the
// connection may go to one.
func (c *connection) mayPark() bool {
	if c.penance > 0 && !c.server.eager {
		c.penance--
		return false
	}
	return true
}
