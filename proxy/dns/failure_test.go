package dns

import (
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestAFailureKeepsTheLastGoodAnswerAndNoSuchNameDoesNot(t *testing.T) {
	failures := map[string]func(string, uint16) (*dns.Msg, error){
		"SERVFAIL": rcode(dns.RcodeServerFailure), "REFUSED": rcode(dns.RcodeRefused),
		"silence": func(string, uint16) (*dns.Msg, error) { return nil, os.ErrDeadlineExceeded },
	}
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				f.answers(failure)
				f.want(t, "a.test", "", 1) // nothing to fall back on
				f.answers(records(10, "192.0.2.10"))
				pass(failureTTL + maxJitter)
				f.want(t, "a.test", "192.0.2.10", 2)
				f.answers(failure)
				pass(11 * time.Second)
				f.want(t, "a.test", "192.0.2.10", 3)
				pass(500 * time.Millisecond)
				f.want(t, "a.test", "192.0.2.10", 3) // and not asked again at once
				for end := time.Now().Add(staleFor - time.Minute); time.Now().Before(end); pass(time.Minute) {
					if got, err := f.Lookup(t.Context(), "a.test"); join(got) != "192.0.2.10" {
						t.Fatal(got, err)
					}
				}
				if n := f.asked.Load(); n > 1500 {
					t.Errorf("%d questions in a day of failures", n)
				}
				pass(3 * time.Minute)
				if got, err := f.Lookup(t.Context(), "a.test"); err == nil {
					t.Errorf("after a day still %v", got)
				}
				f.answers(records(10, "192.0.2.11"))
				pass(2 * maxFailure)
				if got, err := f.Lookup(t.Context(), "a.test"); join(got) != "192.0.2.11" {
					t.Errorf("after the failures: %v %v", got, err)
				}
			})
		})
	}
	for name, gone := range map[string]func(string, uint16) (*dns.Msg, error){
		"NXDOMAIN": rcode(dns.RcodeNameError), "NODATA": rcode(dns.RcodeSuccess),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFake(t)
				f.answers(records(10, "192.0.2.10"))
				f.want(t, "a.test", "192.0.2.10", 1)
				f.answers(gone)
				pass(11 * time.Second)
				f.want(t, "a.test", "", 2)
			})
		})
	}
}

func TestAFamilyThatFailsKeepsItsLastGoodAddresses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		both := func(name string, qtype uint16) (*dns.Msg, error) {
			if qtype == dns.TypeA {
				return records(10, "192.0.2.10")(name, qtype)
			}
			return &dns.Msg{Answer: []dns.RR{record(name, 10, "2001:db8::10")}}, nil
		}
		f.answers(both)
		f.want(t, "a.test", "192.0.2.10 2001:db8::10", 1)
		f.answers(func(name string, qtype uint16) (*dns.Msg, error) {
			if qtype == dns.TypeAAAA {
				return nil, os.ErrDeadlineExceeded
			}
			return records(10, "192.0.2.11")(name, qtype)
		})
		pass(11 * time.Second)
		f.want(t, "a.test", "192.0.2.11 2001:db8::10", 2)
	})
}
