package proxy

import (
	"math/rand/v2"
	"time"
)

// What was accepted before a drain is served in it: a connection that has said nothing yet
// may be one that was made a moment ago, and whoever made it would take its end for the
// server's. It is served once: whatever is answered during a drain says that the
// connection ends with it.

// firstWordsWithin is how long a drain waits for the first bytes of who has just connected,
// where nobody else serves those who come next.
const firstWordsWithin = 5 * time.Second

// drainTimes are when those go in a drain that nothing is under way for.
type drainTimes struct {
	idle   time.Time // the last of those that wait for another request
	silent time.Time // those that have said nothing at all
}

// drain waits for what is under way, and cuts what is left at the end of DrainTimeout.
func (s *Server) drain() {
	limit, now := s.cfg.DrainTimeout, time.Now()
	hurried := time.NewTimer(limit / 2)
	defer hurried.Stop()
	if s.drained.idle, s.drained.silent = now.Add(limit/2), now.Add(limit/2); !s.cfg.HandsOver {
		s.drained.idle, s.drained.silent = now, now.Add(min(firstWordsWithin, limit/2))
		hurried.Reset(0)
	}
	s.draining.Store(true)
	s.each(func(c *connection) {
		if lc := c.lane.Load(); lc != nil {
			lc.lane.loop.Post(lc.drain)
		} else {
			c.deadline.hurry(s.idleEnds(now))
		}
		if h := c.h2.Load(); h != nil {
			h.Shutdown()
		}
	})
	ended := make(chan struct{})
	go func() { defer close(ended); s.handlers.Wait() }()
	late := time.NewTimer(limit)
	defer late.Stop()
	for {
		select {
		case <-hurried.C:
			close(s.stopping)
			continue
		case <-late.C:
			s.cutAll()
		case <-s.cutting:
			s.cutAll()
		case <-ended:
		}
		break
	}
	<-ended
	s.kill()
}

// idleEnds draws when a connection ends that waits for another request.
func (s *Server) idleEnds(now time.Time) time.Time {
	left := max(s.drained.idle.Sub(now), 0)
	return now.Add(time.Duration(rand.Float64() * float64(left)))
}

// Cut ends Serve as if DrainTimeout were over: nothing is accepted, and what is under way
// is reset. It does not wait for that.
func (s *Server) Cut() { s.cut() }

// cutAll resets what is left.
func (s *Server) cutAll() {
	s.kill()
	s.mu.Lock()
	left := len(s.conns)
	s.mu.Unlock()
	s.observe(Event{Kind: ConnectionsCut, Count: int64(left)})
	s.each(func(c *connection) {
		if lc := c.lane.Load(); lc != nil {
			lc.lane.loop.Post(lc.cutIfHere)
			return
		}
		if up := c.upstream.Load(); up != nil {
			cut(up)
		}
		if giveUp := c.giveUp.Load(); giveUp != nil {
			(*giveUp)()
		}
		s.mu.Lock() // under which it changes
		tcp := c.tcp
		s.mu.Unlock()
		if tcp != nil { // else nothing is waited for but a connect, which has ended
			cut(tcp)
		}
		if carried := c.carriage.Load(); carried != nil {
			carried.cut()
		}
	})
}
