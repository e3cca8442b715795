package dnsproxy

import (
	"context"
	"time"

	"github.com/miekg/dns"
)

// streamed answers a query that came over TCP.
func (s *Server) streamed(ctx context.Context, q *query) *dns.Msg {
	if r := s.atOnce(q); r != nil {
		return r
	}
	if !s.waiting.take(q.client) {
		return s.shed(q)
	}
	defer s.waiting.release(q.client)
	return s.answer(ctx, q)
}

func (s *Server) shed(q *query) *dns.Msg {
	return s.finish(q, explained(reply(q.msg, dns.RcodeServerFailure), dns.ExtendedErrorCodeOther, "too many queries wait"), Shed)
}

// answer answers a query that may have to wait for the resolvers.
func (s *Server) answer(ctx context.Context, q *query) *dns.Msg {
	g, ok := s.ground()
	if !ok {
		return s.finish(q, reply(q.msg, dns.RcodeServerFailure), Failed)
	}
	v := g.judge(q.name)
	if v.doubtful {
		ctx, cancel := context.WithTimeout(ctx, patienceInDoubt)
		found, source, err := s.resolve(ctx, q.keyOf(q.name))
		cancel()
		if err == nil && found.rcode == dns.RcodeSuccess {
			return s.finish(q, found.reply(q, verdict{target: q.name}, time.Now()), source)
		}
	}
	if r := s.local(q, v); r != nil {
		return s.finish(q, r, v.source())
	}
	found, source, err := s.resolve(ctx, q.keyOf(v.target))
	if err != nil {
		s.tellSilent(q, err)
		return s.finish(q, explained(reply(q.msg, dns.RcodeServerFailure), dns.ExtendedErrorCodeNetworkError, "no resolver answers"), source)
	}
	return s.finish(q, s.forwarded(q, v, found), source)
}

// atOnce answers what needs no waiting; nil where it does.
func (s *Server) atOnce(q *query) *dns.Msg {
	g, ok := s.ground()
	if !ok {
		return s.finish(q, reply(q.msg, dns.RcodeServerFailure), Failed)
	}
	now := time.Now()
	v := g.judge(q.name)
	if v.doubtful {
		found := s.cache.fresh(q.keyOf(q.name), now)
		switch {
		case found == nil:
			return nil
		case found.rcode == dns.RcodeSuccess:
			return s.finish(q, found.reply(q, verdict{target: q.name}, now), FromCache)
		}
	}
	if r := s.local(q, v); r != nil {
		return s.finish(q, r, v.source())
	}
	if found := s.cache.fresh(q.keyOf(v.target), now); found != nil {
		return s.finish(q, s.forwarded(q, v, found), FromCache)
	}
	return nil
}

// forwarded is the reply to a query that DNS answered.
func (s *Server) forwarded(q *query, v verdict, found *found) *dns.Msg {
	now := time.Now()
	r := found.reply(q, v, now)
	if v.kind != registered {
		return r
	}
	if len(v.host.Addresses) > 0 && r.Rcode == dns.RcodeNameError {
		r.Rcode = dns.RcodeSuccess // it exists here
	}
	s.given.add(v.target, r.Answer, now)
	return r
}

func (v *verdict) source() Source {
	if v.kind == forbidden {
		return Refused
	}
	return FromRegistry
}

// ground is what is in force now; false before there is any.
func (s *Server) ground() (*ground, bool) {
	view := s.view.Load()
	if view == nil {
		return nil, false
	}
	return &ground{view: view, search: s.cfg.Resolvers.Setup().Search, policy: s.cfg.Policy, allow: s.cfg.Allow}, true
}

func (q *query) keyOf(name string) key {
	k := key{name: name, qtype: q.qtype, cd: q.msg.CheckingDisabled}
	if opt := q.msg.IsEdns0(); opt != nil {
		k.do = opt.Do()
	}
	return k
}

// contained runs f; a fault in it ends this query only.
func (s *Server) contained(f func()) {
	defer func() {
		if fault := recover(); fault != nil {
			s.log.Error("a DNS query failed inside the proxy; others go on", "fault", fault, "stack", stack())
		}
	}()
	f()
}
