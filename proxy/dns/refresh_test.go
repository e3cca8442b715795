package dns

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func TestANameInUseIsAskedForAgainAtTheEndOfItsTTL(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(records(30, "192.0.2.10"))
		f.want(t, "a.test", "192.0.2.10", 1)
		f.answers(records(30, "192.0.2.11"))
		pass(29 * time.Second)
		f.want(t, "A.Test.", "192.0.2.10", 1)
		pass(time.Second + maxJitter)
		f.want(t, "a.test", "192.0.2.11", 2)
	})
}

func TestNoLookupOfANameInUseEverWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(records(2, "192.0.2.10"))
		f.want(t, "a.test", "192.0.2.10", 1)
		f.answers(func(name string, qtype uint16) (*dns.Msg, error) {
			time.Sleep(4 * time.Second)
			return records(2, "192.0.2.11")(name, qtype)
		})
		seen := map[string]bool{}
		for range 3000 { // a minute
			start := time.Now()
			got, err := f.Lookup(t.Context(), "a.test")
			if waited := time.Since(start); waited > 0 || err != nil {
				t.Fatalf("waited %v for %v, %v", waited, got, err)
			}
			seen[join(got)] = true
			time.Sleep(20 * time.Millisecond)
		}
		if !seen["192.0.2.11"] {
			t.Error("the new address was never seen")
		}
		f.answers(records(2, "192.0.2.11"))
		pass(5 * time.Second) // the slow ones end
	})
}

func TestRefreshAsksAgainAtMostOnceASecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(records(3600, "192.0.2.10"))
		f.want(t, "a.test", "192.0.2.10", 1)
		pass(2 * time.Second)
		for range 100 {
			f.Refresh("a.test")
			pass(10 * time.Millisecond)
		}
		if n := f.asked.Load(); n != 2 {
			t.Errorf("%d questions", n)
		}
		f.Refresh("unknown.test")
	})
}

// Without Run an answer is renewed by whoever comes past its TTL, who does not
// wait; one that is long past it is waited for.
func TestWithoutRunLookupsRenew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := newFake(t)
		f.Resolver = New(Config{ResolvConf: write(t, "nameserver 192.0.2.1\n"), Hosts: write(t, ""), Exchange: f.exchange})
		defer cancel()
		f.answers(records(10, "192.0.2.10"))
		f.want(t, "a.test", "192.0.2.10", 1)
		f.answers(records(10, "192.0.2.11"))
		pass(12 * time.Second)
		if got, err := f.Lookup(ctx, "a.test"); join(got) != "192.0.2.10" || err != nil {
			t.Error(got, err)
		}
		synctest.Wait()
		f.want(t, "a.test", "192.0.2.11", 2)
		f.answers(records(10, "192.0.2.12"))
		pass(time.Hour)
		f.want(t, "a.test", "192.0.2.12", 3)
	})
}

func TestOfSeveralRunsOneWorksAndAnotherTakesOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.Resolver = New(Config{ResolvConf: write(t, "nameserver 192.0.2.1\n"), Hosts: write(t, ""), Exchange: f.exchange})
		f.answers(records(10, "192.0.2.10"))
		first, endFirst := context.WithCancel(t.Context())
		go f.Run(first)
		synctest.Wait()
		go f.Run(t.Context())
		f.want(t, "a.test", "192.0.2.10", 1)
		pass(11 * time.Second)
		f.want(t, "a.test", "192.0.2.10", 2)
		endFirst()
		pass(11 * time.Second)
		f.want(t, "a.test", "192.0.2.10", 3)
	})
}
