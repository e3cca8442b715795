package dns

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestANameThatNobodyUsesIsForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(records(60, "192.0.2.10"))
		f.want(t, "a.test", "192.0.2.10", 1)
		pass(time.Hour)
		if n := f.asked.Load(); n > 6 {
			t.Errorf("asked %d times in an hour without use", n)
		}
		if n := len(f.cache) + len(f.queue); n != 0 {
			t.Errorf("%d entries are left", n)
		}
	})
}

func TestANameThatSomebodyMadeUpCostsOneLookup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(rcode(dns.RcodeNameError))
		for i := range 100 {
			f.Lookup(t.Context(), fmt.Sprintf("n%d.test", i))
		}
		pass(time.Hour)
		if n := f.asked.Load(); n != 100 || len(f.cache) != 0 {
			t.Errorf("%d questions, %d entries left", n, len(f.cache))
		}
	})
}

func TestAFloodOfNamesDoesNotDriveOutThoseInUse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(records(3600, "192.0.2.10"))
		lost := 0
		for i := range 2 * cacheSize {
			if i%1000 == 0 {
				before := f.asked.Load()
				f.Lookup(t.Context(), "used.test")
				if i > 0 && f.asked.Load() != before {
					lost++
				}
			}
			time.Sleep(time.Millisecond)
			f.Lookup(t.Context(), fmt.Sprintf("n%d.test", i))
		}
		if len(f.cache) > cacheSize || lost > 1 {
			t.Errorf("%d entries; the name in use was driven out %d times", len(f.cache), lost)
		}
	})
}

func TestAnAddressThatLeftANameIsItsOwnForAWhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFake(t)
		f.answers(records(5, "192.0.2.10"))
		f.want(t, "a.test", "192.0.2.10", 1)
		f.answers(records(3600, "192.0.2.11"))
		pass(6 * time.Second)
		f.want(t, "a.test", "192.0.2.11", 2)
		old, current, other := netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("192.0.2.12")
		if !f.Had("A.test", old) || !f.Had("a.test", current) || f.Had("a.test", other) || f.Had("b.test", old) {
			t.Error("shortly after the change")
		}
		pass(recentFor)
		if f.Had("a.test", old) || !f.Had("a.test", current) {
			t.Error("some minutes after the change")
		}
	})
}
