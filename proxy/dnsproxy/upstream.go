package dnsproxy

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/miekg/dns"
)

// Why a question has no answer.
var (
	errForgotten = errors.New("the answer is gone from the cache already")
	errTooMany   = errors.New("too many questions are with the resolvers")
	errSilent    = errors.New("no resolver answers")
	errNoShare   = errors.New("this workload has more than its share of the node's connections, and no more are to be had")
)

// oneTry bounds how long one resolver may take before the next is asked.
const oneTry = 2 * time.Second

// resolve finds the answer to a question: in the cache, from the resolvers, or, when
// those fail or are slow, one that has expired (RFC 8767). Whoever asks the same at
// one time waits for one answer.
func (s *Server) resolve(ctx context.Context, k key) (*found, Source, error) {
	st := s.cache.begin(k, time.Now())
	switch {
	case st.wait == nil && st.err == nil:
		return st.found, FromCache, nil
	case st.wait == nil && st.found != nil:
		return st.found, FromStale, nil
	case st.wait == nil:
		return nil, Failed, st.err
	case st.ask:
		s.ask(k)
	}
	wait := patience
	if st.found != nil {
		wait = patienceForFresh
	}
	late := time.NewTimer(wait)
	defer late.Stop()
	select {
	case <-st.wait:
		found, err := s.cache.outcome(k, time.Now())
		switch {
		case err == nil && found != nil:
			return found, FromUpstream, nil
		case found != nil:
			return found, FromStale, nil
		case err == nil:
			err = errForgotten
		}
		return nil, Failed, err
	case <-late.C:
	case <-ctx.Done():
	}
	if st.found != nil {
		return st.found, FromStale, nil
	}
	return nil, Failed, errSilent
}

// ask puts a question to the resolvers in the background: the answer outlives a
// client that gives up.
func (s *Server) ask(k key) {
	select {
	case s.asking <- struct{}{}:
	default:
		s.cache.finish(k, nil, errTooMany, time.Now())
		return
	}
	s.lookups.Go(func() {
		defer func() { <-s.asking }()
		var f *found
		err := errSilent
		defer func() { s.cache.finish(k, f, err, time.Now()) }()
		s.contained(func() {
			var m *dns.Msg
			if m, err = s.exchange(k); err == nil {
				f = sift(m, k, time.Now())
			}
		})
	})
}

// exchange asks each resolver, the one that answered last first, twice over. "No
// such name" is an answer; a resolver that fails or refuses is not asked to repeat
// itself before the next was.
func (s *Server) exchange(k key) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(s.life, patience)
	defer cancel()
	giveBack, ok := s.cfg.Descriptors.Ask(ctx) // a socket at a time is open
	if !ok {
		return nil, errNoShare
	}
	defer giveBack()
	conf := s.cfg.Resolvers.Setup()
	first := int(s.preferred.Load())
	var last error
	for range 2 {
		for i := range conf.Servers {
			n := (first + i) % len(conf.Servers)
			m, err := s.exchangeWith(ctx, conf.Servers[n], min(conf.Timeout, oneTry), k)
			if err == nil {
				s.preferred.Store(uint32(n))
				return m, nil
			}
			last = fmt.Errorf("server %s: %w", conf.Servers[n], err)
			if ctx.Err() != nil {
				return nil, last
			}
		}
	}
	return nil, last
}

// exchangeWith asks one resolver, without EDNS where it does not understand that.
func (s *Server) exchangeWith(ctx context.Context, server string, timeout time.Duration, k key) (*dns.Msg, error) {
	for _, edns := range []bool{true, false} {
		try, cancel := context.WithTimeout(ctx, timeout)
		m, err := s.cfg.Exchange(try, k.question(edns), server)
		cancel()
		switch {
		case err != nil:
			return nil, err
		case m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError:
			return m, nil
		case edns && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented || m.Rcode == dns.RcodeBadVers):
			continue
		}
		return nil, fmt.Errorf("answers %s", dns.RcodeToString[m.Rcode])
	}
	return nil, errSilent
}

// question is a fresh message each time: its random id must not be used twice.
func (k key) question(edns bool) *dns.Msg {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(k.name), k.qtype)
	m.CheckingDisabled, m.AuthenticatedData = k.cd, true
	if edns {
		m.SetEdns0(1232, k.do)
	}
	return m
}

func stack() string { return string(debug.Stack()) }
