package dns

import (
	"errors"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestAbsurdTTLsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(records(0, "192.0.2.10"))
		f.want(t, "a.test", "192.0.2.10", 1)
		pass(999 * time.Millisecond)
		f.want(t, "a.test", "192.0.2.10", 1) // a second, not none
		f.answers(records(1<<31-1, "192.0.2.10"))
		pass(200 * time.Millisecond)
		f.want(t, "a.test", "192.0.2.10", 2)
		pass(59 * time.Minute)
		f.want(t, "a.test", "192.0.2.10", 2)
		pass(time.Minute + maxJitter)
		f.want(t, "a.test", "192.0.2.10", 3)
	})
}

func TestTheSmallestTTLOfAChainCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(func(name string, qtype uint16) (*dns.Msg, error) {
			alias, _ := dns.NewRR(name + ". 5 IN CNAME b.test.")
			m := &dns.Msg{Answer: []dns.RR{alias}}
			if qtype == dns.TypeA {
				m.Answer = append(m.Answer, record("b.test", 300, "192.0.2.10"))
			}
			return m, nil
		})
		f.want(t, "a.test", "192.0.2.10", 1)
		pass(6 * time.Second)
		f.want(t, "a.test", "192.0.2.10", 2)
	})
}

func TestNoSuchNameIsRememberedForAWhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(rcode(dns.RcodeNameError))
		f.want(t, "a.test", "", 1)
		if _, err := f.Lookup(t.Context(), "a.test"); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
		f.answers(records(30, "192.0.2.10"))
		pass(negativeTTL - time.Second)
		f.want(t, "a.test", "", 1)
		pass(time.Second + maxJitter)
		f.want(t, "a.test", "192.0.2.10", 2)
	})
}
