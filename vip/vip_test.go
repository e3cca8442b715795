package vip_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/vip"
)

var seed = flag.Uint64("seed", 0, "seed of the random histories; 0 picks one")

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func TestASlotIsOneNumberInBothRanges(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		slot vip.Slot
		v4   string
		v6   string
	}{{0x0304, "240.240.3.4", "2001:2::304"}, {0x0001, "240.240.0.1", "2001:2::1"}, {0xfffe, "240.240.255.254", "2001:2::fffe"}} {
		if tc.slot.IPv4().String() != tc.v4 || tc.slot.IPv6().String() != tc.v6 {
			t.Errorf("%x: %s %s", uint16(tc.slot), tc.slot.IPv4(), tc.slot.IPv6())
		}
		for _, text := range []string{tc.v4, tc.v6, "::ffff:" + tc.v4} {
			if got, ok := vip.SlotOf(netip.MustParseAddr(text)); !ok || got != tc.slot {
				t.Errorf("%s is in slot %x, %v", text, uint16(got), ok)
			}
		}
	}
	for _, text := range []string{"240.240.3.0", "240.240.3.255", "240.241.3.4", "2001:2::", "2001:2::1:304", "2001:2:1::304", "::"} {
		if got, ok := vip.SlotOf(netip.MustParseAddr(text)); ok {
			t.Errorf("%s is in slot %x", text, uint16(got))
		}
	}
	if _, ok := vip.SlotOf(netip.Addr{}); ok {
		t.Error("no address is in a slot")
	}
}

func TestTheFirstBookDependsOnTheHostsAlone(t *testing.T) {
	t.Parallel()
	hosts := names(3000)
	want, left := vip.Book(nil).Assign(hosts, noon)
	if len(left) > 0 || len(want) != len(hosts) {
		t.Fatalf("%d of %d, left over %v", len(want), len(hosts), left)
	}
	r := random(t)
	r.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	if got, _ := vip.Book(nil).Assign(append(hosts, hosts[:7]...), noon.Add(time.Hour)); !maps.Equal(got, want) {
		t.Error("another order or another day gave other slots")
	}
	distinct(t, want)
}

// The slot of a name is part of what users see and may write down: the hash must
// not change between versions.
func TestANamesHomeStaysBetweenVersions(t *testing.T) {
	t.Parallel()
	b, _ := vip.Book(nil).Assign([]string{"mongo1.example.com", "mongo2.example.com"}, noon)
	s1, _ := b.Slot("mongo1.example.com")
	s2, _ := b.Slot("mongo2.example.com")
	if got := fmt.Sprint(s1.IPv4(), " ", s2.IPv4()); got != "240.240.246.126 240.240.114.129" {
		t.Errorf("got %s", got)
	}
}

func TestASlotIsNotReusedWhileAnAnswerMayLive(t *testing.T) {
	t.Parallel()
	full, left := vip.Book(nil).Assign(names(vip.Slots), noon)
	if len(left) > 0 {
		t.Fatalf("%d left over", len(left))
	}
	distinct(t, full)
	gone := names(vip.Slots)[1:]
	old, _ := full.Slot("host0.test")
	with := append(slices.Clone(gone), "new.test")
	b, left := full.Assign(with, noon)
	if !slices.Equal(left, []string{"new.test"}) {
		t.Fatalf("left over: %v", left)
	}
	b, left = b.Assign(with, noon.Add(vip.Rest-1))
	if len(left) != 1 {
		t.Fatal("the slot was given away before it had rested")
	}
	if _, has := b.Slot("new.test"); has {
		t.Fatal("a host that was left over has a slot")
	}
	b, left = b.Assign(with, noon.Add(vip.Rest))
	if slot, _ := b.Slot("new.test"); len(left) > 0 || slot != old {
		t.Errorf("got %x, want %x; left over %v", uint16(slot), uint16(old), left)
	}
	distinct(t, b)
}

// A random history: hosts come and go, time passes. Whatever happens, a host's slot
// stays while it is registered, is its own again when it comes back in time, and is
// nobody else's before it has rested.
func TestSlotsAreStableThroughAnyHistory(t *testing.T) {
	t.Parallel()
	r := random(t)
	pool := names(400)
	type was struct {
		slot vip.Slot
		left time.Time
	}
	history := map[string]was{}
	book, now := vip.Book(nil), noon
	for range 300 {
		now = now.Add(time.Duration(r.Int64N(int64(3 * time.Hour))))
		var hosts []string
		for _, h := range pool {
			if r.IntN(3) > 0 {
				hosts = append(hosts, h)
			}
		}
		next, left := book.Assign(hosts, now)
		if len(left) > 0 {
			t.Fatalf("left over: %v", left)
		}
		distinct(t, next)
		resting := map[vip.Slot][]string{}
		for h, w := range history {
			if !w.left.IsZero() && now.Sub(w.left) < vip.Rest {
				resting[w.slot] = append(resting[w.slot], h)
			}
		}
		for _, h := range hosts {
			slot, ok := next.Slot(h)
			if !ok {
				t.Fatalf("%s has none", h)
			}
			if w, known := history[h]; known && slot != w.slot && (w.left.IsZero() || now.Sub(w.left) < vip.Memory) {
				t.Fatalf("%s moved", h)
			}
			for _, other := range resting[slot] {
				if other != h {
					t.Fatalf("%s has the slot of %s, which left %s ago", h, other, now.Sub(history[other].left))
				}
			}
		}
		for h, w := range history {
			if _, on := next.Slot(h); !on && w.left.IsZero() {
				history[h] = was{w.slot, now}
			}
		}
		for _, h := range hosts {
			slot, _ := next.Slot(h)
			history[h] = was{slot: slot}
		}
		book = next
	}
	if len(book) > len(pool) {
		t.Errorf("%d entries for %d names", len(book), len(pool))
	}
}

func TestWhatLeftLongAgoIsForgotten(t *testing.T) {
	t.Parallel()
	b, _ := vip.Book(nil).Assign(names(50), noon)
	b, _ = b.Assign(nil, noon)
	if b, _ = b.Assign(nil, noon.Add(vip.Memory-1)); len(b) != 50 {
		t.Errorf("%d remembered", len(b))
	}
	if b, _ = b.Assign(nil, noon.Add(vip.Memory)); len(b) != 0 {
		t.Errorf("%d remembered", len(b))
	}
}

func BenchmarkAssignTenThousandKnownHosts(b *testing.B) {
	hosts := names(10_000)
	book, _ := vip.Book(nil).Assign(hosts, noon)
	for b.Loop() {
		book, _ = book.Assign(hosts, noon)
	}
}

func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("host%d.test", i)
	}
	return out
}

func distinct(t *testing.T, b vip.Book) {
	t.Helper()
	owner := map[vip.Slot]string{}
	for host, a := range b {
		if other := owner[a.Slot]; other != "" {
			t.Fatalf("%s and %s share slot %x", host, other, uint16(a.Slot))
		}
		owner[a.Slot] = host
		if back, ok := vip.SlotOf(a.Slot.IPv6()); !ok || back != a.Slot {
			t.Fatalf("%s has no usable slot: %x", host, uint16(a.Slot))
		}
	}
}

func random(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("repeat with: -run '%s' -seed %d", t.Name(), s)
	return rand.New(rand.NewPCG(s, 0))
}
