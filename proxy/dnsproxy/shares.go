package dnsproxy

import (
	"net/netip"
	"sync"
	"time"
)

// shares bounds what is under way, in all and for each client, so that one of
// several clients cannot take everything.
type shares struct {
	most, each int

	mu    sync.Mutex
	total int
	of    map[netip.Addr]int
}

// take is false where the share is used up.
func (s *shares) take(client netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= s.most || s.of[client] >= s.each {
		return false
	}
	if s.of == nil {
		s.of = make(map[netip.Addr]int)
	}
	s.total++
	s.of[client]++
	return true
}

func (s *shares) release(client netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.of[client]--; s.of[client] <= 0 {
		delete(s.of, client)
	}
}

// Bounds of what is logged about names: each once a minute, and so many in all.
const (
	sayAgainAfter = time.Minute
	saysAMinute   = 60
)

// occasionally keeps a log readable, whatever names a client makes up.
type occasionally struct {
	mu    sync.Mutex
	since time.Time
	said  map[string]struct{}
	quiet int
}

// says whether to log about a subject now, and how many were left out before.
func (o *occasionally) says(subject string, now time.Time) (leftOut int, yes bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.said == nil || now.Sub(o.since) >= sayAgainAfter {
		leftOut, o.quiet = o.quiet, 0
		o.since, o.said = now, make(map[string]struct{})
	}
	if _, done := o.said[subject]; done {
		return 0, false
	}
	if len(o.said) >= saysAMinute {
		o.quiet++
		return 0, false
	}
	o.said[subject] = struct{}{}
	return leftOut, true
}

// tellRefused logs a name that policy kept in.
func (s *Server) tellRefused(q *query) {
	if more, yes := s.refused.says(q.name, time.Now()); yes {
		s.log.Info("dns: refused: not registered", "name", q.name, "type", typeName(q.qtype), "client", q.client, "left_out", more,
			"hint", "register it in a ServiceEntry's hosts, or let it through with --dns-allow")
	}
}

// tellSilent logs that nobody answered.
func (s *Server) tellSilent(q *query, err error) {
	if more, yes := s.silent.says(err.Error(), time.Now()); yes {
		s.log.Warn("dns: no answer", "name", q.name, "type", typeName(q.qtype), "error", err, "left_out", more)
	}
}

// tellCut logs that a client's connection is closed, for want of a place.
func (s *Server) tellCut(client netip.Addr) {
	if more, yes := s.silent.says("a TCP connection", time.Now()); yes {
		s.log.Warn("dns: a TCP connection was closed unanswered", "client", client, "error", errNoShare, "left_out", more)
	}
}

// tellFailing logs that a socket has to wait.
func (s *Server) tellFailing(what string, err error) {
	if more, yes := s.silent.says(what+err.Error(), time.Now()); yes {
		s.log.Warn("dns: "+what+" failed; it is tried again", "error", err, "left_out", more)
	}
}
