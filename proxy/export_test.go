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
func Waiting(s *Server) (n int) {
	s.pools.mu.Lock()
	defer s.pools.mu.Unlock()
	for _, u := range s.pools.byKey {
		u.mu.Lock()
		n += int(u.pending)
		u.mu.Unlock()
	}
	return n
}

// HTTP2Names is for how many addresses and names a server has HTTP/2 connections.
func HTTP2Names(s *Server) (n int) {
	s.pools.mu.Lock()
	defer s.pools.mu.Unlock()
	for _, u := range s.pools.byKey {
		u.mu.Lock()
		n += len(u.h2)
		u.mu.Unlock()
	}
	return n
}

// MaxFresh is how often a request is sent again that no server has looked at.
const MaxFresh = maxFresh
