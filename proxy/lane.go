package proxy

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/loop"
)

// A lane serves plain HTTP/1.1 connections from one event loop: requests whose
// body came with their head, answers that are not long. That is the usual case,
// and there a goroutine per connection costs more in waking than in work
// (docs/decisions/0012). Whatever else a connection needs, a new upstream
// connection, a long or streaming body, an upgrade, an answer of the proxy's own,
// is the business of a goroutine: the lane hands the connection over, and gets it
// back between two requests once it is quiet again.
//
//	lane: accept ▸ first bytes ▸ request, request, request …
//	         │                     │ ▲
//	         ▼    anything unusual ▼ │ quiet again
//	      goroutine: TLS, TCP, HTTP/2, what else a request needs
//
// A connection in a lane is an httpConn only while a request is under way. All of
// a lane's state belongs to its loop's goroutine.
type lane struct {
	server    *Server
	loop      *loop.Loop
	number    int         // which of an upstream's lanePools is ours
	free      []*httpConn // not under way
	upstreams map[*upstream]struct{}
	maxFree   int
	sweep     loop.Timer
	sweepsAt  time.Time // zero while there is nothing to sweep
}

// maxFree bounds the httpConns that a lane keeps for later; a pod among many has fewer.
const (
	maxFree       = 64
	sharedMaxFree = 8
)

// processLoops are for all servers of a process that were given no others.
var processLoops loop.Group

// openLanes makes a lane on each loop.
func (s *Server) openLanes() error {
	loops, err := s.cfg.Loops.Open()
	if err != nil {
		return err
	}
	most := maxFree
	if s.cfg.Limits.Share != nil {
		most = sharedMaxFree
	}
	for i, l := range loops {
		s.lanes = append(s.lanes, &lane{server: s, loop: l, number: i, upstreams: map[*upstream]struct{}{}, maxFree: most})
	}
	return nil
}

// closeLanes ends the lanes; no connection is in them any more.
func (s *Server) closeLanes() {
	var dropped sync.WaitGroup
	for _, ln := range s.lanes {
		dropped.Add(1)
		ln.loop.Post(func() {
			defer dropped.Done()
			ln.dropAll()
		})
	}
	dropped.Wait()
	s.cfg.Loops.Close()
}

// park moves a connection that waits for a request, or for its first bytes, into a
// lane and says whether it did. at is the lane on whose loop the caller is, nil for
// none. The caller's goroutine must not touch the connection afterwards.
func (s *Server) park(c *connection, at *lane) bool {
	if !c.parks && !c.arrives {
		return false
	}
	ln := at
	if ln == nil {
		ln = s.lanes[int(s.nextLane.Add(1))%len(s.lanes)]
	}
	lc := &laneConn{lane: ln, c: c, phase: awaiting}
	if c.arrives {
		lc.phase = arriving
	}
	c.parks, c.arrives = false, false
	c.lane.Store(lc) // before anything could be looking for it there
	fd, err := c.takeSocket()
	if err != nil { // no descriptor is left: its goroutine goes on
		c.lane.Store(nil)
		c.unfit(0)
		c.stays = true
		return false
	}
	lc.sock.fd = fd
	if at != nil {
		lc.enter()
		return true
	}
	if !ln.loop.Post(lc.enter) { // cannot be: lanes outlive the connections
		unix.Close(fd)
		c.in.release()
		s.forget(c)
	}
	return true
}

// takeSocket takes the socket out of the connection.
func (c *connection) takeSocket() (fd int, err error) {
	if c.tcp != nil {
		return loop.Detach(c.tcp)
	}
	fd, c.fd = c.fd, -1
	return fd, nil
}

func (ln *lane) httpConn() *httpConn {
	if n := len(ln.free); n > 0 {
		h := ln.free[n-1]
		ln.free = ln.free[:n-1]
		return h
	}
	return new(httpConn)
}

// giveBack is forget for a lane, which does it after every request: what is kept
// is overwritten by the next, and nothing of it leads to a configuration.
func (ln *lane) giveBack(h *httpConn) {
	h.c, h.body.c, h.via, h.unsent = nil, nil, nil, nil
	h.to, h.tries, h.edits, h.entry.cluster = decision{}, tries{}, mesh.Edits{}, nil
	if len(ln.free) < ln.maxFree && max(cap(h.head), cap(h.back)) <= maxBufferSize {
		ln.free = append(ln.free, h)
		ln.sweepBy(ln.loop.Now().Add(sweepEvery))
	}
}

// sock is a socket that the runtime does not poll, as a reader.
type sock struct{ fd int }

func (s *sock) Read(b []byte) (int, error) { return loop.Read(s.fd, b) }

// laneSweep finds the connections whose service has left the configuration, and
// those idle for too long, and lets half go of what is kept for later.
type laneSweep struct{ *lane }

// sweepBy has a sweep come by then: there is something to be swept. The zero time is
// never.
func (ln *lane) sweepBy(at time.Time) {
	if !at.IsZero() && (ln.sweepsAt.IsZero() || at.Before(ln.sweepsAt)) {
		ln.sweepsAt = at
		ln.loop.Set(&ln.sweep, laneSweep{ln}, at)
	}
}

func (w laneSweep) Ready(loop.Readiness) {}
func (w laneSweep) Fault(fault any) {
	w.server.log.Error("sweeping idle connections failed", "fault", fault, "stack", stack())
}

func (w laneSweep) Expired() {
	now := w.loop.Now()
	w.sweepsAt = time.Time{}
	w.sweepBy(w.expireIdle(now, false))
	half := len(w.free) / 2
	clear(w.free[half:])
	w.free = w.free[:half]
	if half+len(w.upstreams) > 0 {
		w.sweepBy(now.Add(sweepEvery))
	}
}

// limit is the earlier of a time limit from now and a deadline, if there is one.
func limit(now time.Time, d time.Duration, deadline time.Time) time.Time {
	at := now.Add(d)
	if !deadline.IsZero() && deadline.Before(at) {
		return deadline
	}
	return at
}
