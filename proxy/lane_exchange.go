package proxy

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/http1"
	"github.com/sluice-cni/sluice/proxy/loop"
)

// laneAnswer is the longest answer, of known length, that a lane carries itself.
// Longer ones the kernel moves, for a goroutine.
const laneAnswer = 256 << 10

// Bounds of what one connection may have of its loop, on which all others wait.
const (
	laneHead  = 8 << 10 // the longest request head that is routed there: routes may be regular expressions
	laneTurns = 64      // reads of an answer before the others have their turn
	headReads = 16      // reads of an answer's head; a server that sends it in crumbs is left to a goroutine
)

// errLaneTimeout is a time limit that ended in a lane.
var errLaneTimeout = os.ErrDeadlineExceeded

// plain says whether a request is one that a lane can forward: its body, if any,
// is here, and it asks for nothing beyond an answer.
func (h *httpConn) plain(here int) bool {
	r := &h.req
	switch r.Body() {
	case http1.NoBody:
	case http1.Length:
		if r.ContentLength > int64(here) {
			return false
		}
	default:
		return false
	}
	return len(r.UpgradeTo) == 0 && (r.Form == http1.Origin || r.Form == http1.Absolute)
}

// forward sends the request, whose head is n bytes long, upstream.
func (lc *laneConn) forward(n int) {
	c, h := lc.c, lc.h
	if n > laneHead || !h.plain(c.in.len()-n) {
		lc.leave(nil)
		return
	}
	st := c.server.state.Load()
	h.headSize = n
	h.begin(time.Now())
	h.entry.hurried = true
	d := h.route(st) // once for each request: weights are drawn
	c.in.discard(n)
	if d.undecided {
		lc.leave(func(h *httpConn) bool { return h.serve(st, h.route(st)) })
		return
	}
	if d.status != 0 || d.waits() {
		d := d // of its own: what a closure holds is allocated
		lc.leave(func(h *httpConn) bool { return h.serve(st, d) })
		return
	}
	h.leadTo(st, d)
	h.encode(d.cluster)
	up := lc.lane.take(h)
	if up == nil {
		lc.leave((*httpConn).deliver)
		return
	}
	h.entry.upstreamHost, h.entry.upstreamLocal = up.key.addr, up.local
	lc.up, up.user = up, lc
	lc.phase, lc.reads, h.unsent = sending, 0, h.head
	h.clock.sent(h.entry.onward())
	h.clock.try(lc.lane.loop.Now(), nil) // the loop's timer ends it
	lc.expect()
	lc.send()
}

// expect begins the time in which the answer must begin: less where the application
// may have left.
func (lc *laneConn) expect() {
	wait := lc.c.server.cfg.StreamIdleTimeout
	if lc.ended {
		wait = lc.c.server.patience.halfClosed
	}
	lc.lane.loop.Set(&lc.timer, lc, limit(lc.lane.loop.Now(), wait, lc.h.deadline()))
}

// left gives up the exchange of an application that has left.
func (lc *laneConn) left() {
	if lc.phase == answering {
		lc.fail(&writeError{errLeft})
		return
	}
	lc.lane.close(lc.up)
	lc.up = nil
	lc.h.reply(*abandoned())
	lc.end()
}

// send writes what is left of the request.
func (lc *laneConn) send() {
	h := lc.h
	n, err := lc.up.write(h.unsent)
	h.tries.sent = h.tries.sent || n > 0
	if err != nil && err != unix.EAGAIN {
		if len(h.unsent) < len(h.head) && !h.idempotent() { // the server may have acted on what it got
			lc.leaveWith(err)
			return
		}
		lc.sendElsewhere()
		return
	}
	if h.unsent = h.unsent[n:]; len(h.unsent) == 0 {
		lc.phase = waiting
	}
}

// sendElsewhere leaves a request to a goroutine that its idle connection, closed by
// the server at this very moment, did not take.
func (lc *laneConn) sendElsewhere() {
	lc.lane.close(lc.up)
	lc.up = nil
	lc.leave((*httpConn).deliver)
}

// news is told what its upstream connection is ready for.
func (lc *laneConn) news(r loop.Readiness) {
	switch lc.phase {
	case sending:
		if r&(loop.Writable|loop.Ended) != 0 {
			lc.send()
		}
		if lc.phase == waiting && lc.up.readable {
			lc.receive()
		}
	case waiting:
		if lc.up.readable {
			lc.receive()
		}
	case answering:
		if lc.up.readable && !lc.blocked {
			lc.answer()
		}
	}
}

// receive reads the answer's head. What is not a final answer of a kind that lanes
// carry is read again by a goroutine.
func (lc *laneConn) receive() {
	h, up := lc.h, lc.up
	for {
		if err := up.fill(); err != nil {
			if err != unix.EAGAIN {
				lc.leaveWith(err)
			}
			return
		}
		n, bad := h.resp.Parse(up.in.bytes())
		lc.reads++
		switch {
		case bad != nil:
			lc.leaveWith(bad)
			return
		case n > 0:
			lc.begin(n)
			return
		case lc.reads >= headReads:
			lc.leaveWith(nil)
			return
		case !up.more():
			return
		}
	}
}

// begin starts the answer whose head is n bytes long.
func (lc *laneConn) begin(n int) {
	h, r := lc.h, &lc.h.resp
	framing := r.Body(h.entry.method)
	if r.Status < 200 || framing == http1.UntilClose || framing == http1.Length && r.ContentLength > laneAnswer || h.wantsAgain() {
		lc.leaveWith(nil)
		return
	}
	h.report()
	h.settle()
	lc.up.in.discard(n)
	h.answer(framing)
	lc.phase = answering
	lc.answer()
}

// answer moves the answer on as far as both sides and the others on the loop let it.
func (lc *laneConn) answer() {
	h, up := lc.h, lc.up
	if lc.yielded {
		return
	}
	for turns := 0; ; turns++ {
		if turns == laneTurns {
			lc.yield()
			return
		}
		more := false
		if len(h.unsent) == 0 {
			var bad error
			if more, bad = h.produce(&up.in); bad != nil {
				lc.fail(bad)
				return
			}
		}
		if !lc.flush() {
			return
		}
		if h.rest.done {
			lc.finish()
			return
		}
		if more {
			continue
		}
		if err := up.fill(); err != nil {
			if err != unix.EAGAIN {
				lc.fail(unexpected(err))
				return
			}
			lc.awaitMore()
			return
		}
	}
}

// awaitMore begins the time in which more of the answer must come.
func (lc *laneConn) awaitMore() {
	lc.lane.loop.Set(&lc.timer, lc, limit(lc.lane.loop.Now(), lc.c.server.cfg.StreamIdleTimeout, lc.h.deadline()))
}

// yield goes on with the answer once the others on the loop had their turn.
func (lc *laneConn) yield() {
	lc.yielded = true
	lc.awaitMore()
	up := lc.up
	lc.lane.loop.Post(func() {
		defer lc.contain()
		lc.yielded = false
		if lc.up == up && lc.phase == answering && !lc.blocked {
			lc.answer()
		}
	})
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// flush writes what is ready and says whether all of it is out.
func (lc *laneConn) flush() bool {
	h := lc.h
	for len(h.unsent) > 0 {
		n, err := loop.Write(lc.sock.fd, h.unsent)
		if err == unix.EAGAIN {
			lc.blocked = true
			lc.lane.loop.Set(&lc.timer, lc, lc.lane.loop.Now().Add(lc.c.server.cfg.StreamIdleTimeout))
			return false
		}
		if err != nil {
			lc.fail(&writeError{err})
			return false
		}
		h.unsent = h.unsent[n:]
	}
	h.back = h.back[:0]
	return true
}

// finish ends an exchange that went well.
func (lc *laneConn) finish() {
	h, up, c := lc.h, lc.up, lc.c
	lc.up, up.user = nil, nil
	if h.resp.KeepAlive && up.in.len() == 0 {
		lc.lane.put(up)
	} else {
		lc.lane.close(up)
	}
	h.finish(nil, false)
	if lc.served < goodService {
		lc.served++
	}
	switch {
	case h.rest.keep:
		lc.drop()
		lc.next()
	case c.in.len() > 0 || !settled(lc.sock.fd): // a plain close could destroy the answer
		lc.leave(func(h *httpConn) bool { h.c.closeGently(); return false })
	default:
		lc.end()
	}
}

// fail ends an answer in its middle.
func (lc *laneConn) fail(err error) {
	h := lc.h
	lc.lane.close(lc.up)
	lc.up = nil
	h.finish(err, h.cutShort(err, lc.lane.loop.Now()))
	if h.rest.untilClose {
		lc.cut()
		return
	}
	lc.end()
}

// timeout is whose fault it is that an answer did not go on.
func (lc *laneConn) timeout() error {
	if lc.blocked {
		return &writeError{errLaneTimeout}
	}
	return errLaneTimeout
}

// leaveWith leaves an exchange whose answer has not begun to a goroutine: with an
// error for a failed one, else to read the answer as far as it is here.
func (lc *laneConn) leaveWith(err error) {
	up := lc.up
	lc.up, up.user = nil, nil
	lc.lane.loop.Remove(up.sock.fd)
	lc.depart(up, func(h *httpConn) bool { return h.resume(up, err) })
}

// resume goes on with an exchange that a lane began.
func (h *httpConn) resume(lu *laneUpstream, err error) bool {
	up := lu.upstreamConn
	tcp, lost := loop.Attach(lu.sock.fd)
	if lost != nil {
		up.in.release()
		up.ended()
		return h.fail(upstreamClosed())
	}
	if lost = up.attach(tcp); lost != nil && err == nil {
		err = lost
	}
	h.clock.follow(&up.read)
	h.c.upstream.Store(up.tcp)
	if err == nil {
		err = h.readResponse(up)
	}
	v := h.conclude(up, err, false)
	h.c.upstream.Store(nil)
	return h.proceed(v)
}
