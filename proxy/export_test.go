package proxy

import "time"

// GoToLanes has a server's connections go back to a lane after each request that one
// could have served, however often they have left it: so that a test of one exchange is
// a test of lanes.
func GoToLanes(s *Server) { s.eager = true }

// NoticeDepartures has a server look so often at applications that wait, and wait so
// long for those that have half-closed.
func NoticeDepartures(s *Server, look, halfClosed time.Duration) {
	s.mu.Lock() // under which connections begin
	defer s.mu.Unlock()
	s.patience.look, s.patience.halfClosed = look, halfClosed
}

// CutIdleTunnels has a server end tunnels over which nothing has moved for so long.
func CutIdleTunnels(s *Server, idle time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.patience.tunnel = idle
}

// WaitForFirstBytes has a server wait so long for a client's first bytes where an opaque
// protocol is possible: so that a busy machine makes no client a silent one.
func WaitForFirstBytes(s *Server, silent time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.patience.silent = silent
}

// DrawBackOff has a server draw the part of each back-off that it waits.
func DrawBackOff(s *Server, draw func() float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draw = draw
}

// KeptBodies is how many bytes of requests a server keeps to be sent again.
func KeptBodies(s *Server) int64 { return s.cfg.Limits.Bodies/2 - s.kept.left.Load() }

// Waiting is how many requests wait for a connection.
func Waiting(s *Server) int { return sum(s, func(u *upstream) int { return int(u.pending) }) }

// HTTP2Names is for how many addresses and names a server has HTTP/2 connections.
func HTTP2Names(s *Server) int { return sum(s, func(u *upstream) int { return len(u.h2) }) }

// sum adds up what all upstreams have, each under its mutex.
func sum(s *Server, of func(*upstream) int) (n int) {
	for _, u := range s.pools.all() {
		u.mu.Lock()
		n += of(u)
		u.mu.Unlock()
	}
	return n
}

// MaxFresh is how often a request is sent again that no server has looked at.
const MaxFresh = maxFresh
