package proxy

import (
	"time"

	"golang.org/x/sys/unix"
)

// awaitFirst begins the wait for a connection's first bytes, or for more of them.
func (lc *laneConn) awaitFirst() {
	c := lc.c
	until := time.Now() // the turn may have begun a while ago
	if c.in.len() > 0 {
		until = until.Add(headTimeout)
	} else {
		c.in.release()
		st := c.server.state.Load()
		until = until.Add(c.patience(st, st.view.Listener(c.dst.Port())))
		if c.speaksFirst(st) && c.server.draining.Load() {
			until = c.server.drained.silent
		}
	}
	lc.lane.loop.Set(&lc.timer, lc, until)
}

// arrive looks at what has come, until it is known what the connection speaks.
func (lc *laneConn) arrive() {
	c := lc.c
	for lc.readable {
		first := c.in.len() == 0
		err := c.in.fill(&lc.sock)
		switch k := sniff(c.in.bytes()); {
		case err == unix.EAGAIN:
			lc.readable = false
			if first {
				c.in.release()
			}
		case err != nil && first: // the client left before it said anything
			lc.end()
			return
		case err != nil:
			lc.proceed(isOpaque)
			return
		case k != unknown:
			lc.proceed(k)
			return
		case first: // once: a head that comes byte by byte gets no more time
			lc.lane.loop.Set(&lc.timer, lc, lc.lane.loop.Now().Add(headTimeout))
		}
	}
}

// proceed serves a connection of a kind that is known: HTTP/1.1 here, all else with
// its own loop or goroutine.
func (lc *laneConn) proceed(k kind) {
	ln, c := lc.lane, lc.c
	st := c.server.state.Load()
	l := st.view.Listener(c.dst.Port())
	if k == isHTTP1 && l.ReadsHTTP(c.dst.Addr()) && c.server.ownConn.passes(ends{c.src, c.dst}) == 0 {
		c.seen.Store(uint32(seenHTTP1))
		lc.next()
		return
	}
	ln.loop.Stop(&lc.timer)
	ln.loop.Remove(lc.sock.fd)
	c.fd = lc.sock.fd
	lc.sock.fd, lc.entered = -1, false
	c.lane.Store(nil)
	c.at = ln
	c.server.run(c, func() { c.proceed(st, l, k) })
}
