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
	hosts := wanted(names(3000))
	want, left := vip.Book(nil).Assign(hosts, noon)
	if len(left) > 0 || len(want) != len(hosts) {
		t.Fatalf("%d of %d, left over %v", len(want), len(hosts), left)
	}
	r := random(t)
	r.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	if got, _ := vip.Book(nil).Assign(hosts, noon.Add(time.Hour)); !maps.Equal(got, want) {
		t.Error("another order or another day gave other slots")
	}
	distinct(t, want)
}

// The slot of a name is part of what users see and may write down: the hash must
// not change between versions.
func TestANamesHomeStaysBetweenVersions(t *testing.T) {
	t.Parallel()
	b, _ := vip.Book(nil).Assign(wanted([]string{"mongo1.example.com", "mongo2.example.com"}), noon)
	s1, _ := b.Slot("mongo1.example.com")
	s2, _ := b.Slot("mongo2.example.com")
	if got := fmt.Sprint(s1.IPv4(), " ", s2.IPv4()); got != "240.240.246.126 240.240.114.129" {
		t.Errorf("got %s", got)
	}
}

func TestASlotIsNotReusedWhileAnAnswerMayLive(t *testing.T) {
	t.Parallel()
	full, left := vip.Book(nil).Assign(wanted(names(vip.Slots)), noon)
	if len(left) > 0 {
		t.Fatalf("%d left over", len(left))
	}
	distinct(t, full)
	gone := names(vip.Slots)[1:]
	old, _ := full.Slot("host0.test")
	with := wanted(append(gone, "new.test"))
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
		all := wanted(hosts)
		for i := range all {
			all[i].Namespaces = [][]string{{"a"}, {"b"}, {"a", "b"}}[r.IntN(3)]
		}
		next, left := book.Assign(all, now)
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
	b, _ := vip.Book(nil).Assign(wanted(names(50)), noon)
	b, _ = b.Assign(nil, noon)
	if b, _ = b.Assign(nil, noon.Add(vip.Memory-1)); len(b) != 50 {
		t.Errorf("%d remembered", len(b))
	}
	if b, _ = b.Assign(nil, noon.Add(vip.Memory)); len(b) != 0 {
		t.Errorf("%d remembered", len(b))
	}
}

// registered counts the hosts that have a slot.
func registered(b vip.Book, hosts []string) (n int) {
	for _, host := range hosts {
		if _, ok := b.Slot(host); ok {
			n++
		}
	}
	return n
}

func TestOneNamespaceDoesNotTakeTheSlotsOfOthers(t *testing.T) {
	t.Parallel()
	const half = vip.Slots / 2
	all := names(2 * vip.Slots)
	greedy, more, modest := all[:vip.Slots], all[vip.Slots:vip.Slots+100], all[vip.Slots+100:vip.Slots+200]
	first, left := vip.Book(nil).Assign(in(greedy, "greedy"), noon)
	if n := registered(first, greedy); n != half || len(left) != vip.Slots-half {
		t.Fatalf("one namespace has %d slots, and %d hosts were left over", n, len(left))
	}
	b, _ := first.Assign(slices.Concat(in(greedy, "greedy"), in(more, "greedy"), in(modest, "modest")), noon)
	distinct(t, b)
	if got, n := registered(b, modest), registered(b, more); got != len(modest) || n > 0 {
		t.Errorf("who came later has %d slots of %d, who has its part %d more", got, len(modest), n)
	}
	for _, host := range greedy {
		was, had := first.Slot(host)
		if is, has := b.Slot(host); has != had || is != was {
			t.Fatalf("%s had %x, %v and has %x, %v", host, was, had, is, has)
		}
	}
	// A host that somebody registers whose part is full is everybody's who registers it.
	shared := all[2*vip.Slots-10:]
	b, left = b.Assign(slices.Concat(in(greedy, "greedy"), in(modest, "modest"), in(shared, "greedy", "modest")), noon)
	if n := registered(b, shared); n != len(shared) || len(left) != vip.Slots-half {
		t.Errorf("%d of %d that both register have slots; %d are left over", n, len(shared), len(left))
	}
}

// Whoever has his part does not come to more by taking entries away: what left counts until
// it has rested, comes back as anything new does then, and goes to no part that is full.
func TestAPartIsNotWidenedByComingAndGoing(t *testing.T) {
	t.Parallel()
	const half = vip.Slots / 2
	all := names(vip.Slots + half)
	old, young := all[:half], all[half:vip.Slots]
	b, _ := vip.Book(nil).Assign(in(old, "greedy"), noon)
	full := b
	b, _ = b.Assign(in(young, "greedy"), noon.Add(time.Minute))
	if n := registered(b, young); n > 0 {
		t.Errorf("%d more while what has left rests", n)
	}
	rested := noon.Add(time.Minute + vip.Rest)
	b, _ = b.Assign(in(young, "greedy"), rested)
	if n := registered(b, young); n != half {
		t.Errorf("%d when it has rested", n)
	}
	b, _ = b.Assign(in(all[:vip.Slots], "greedy"), rested)
	if n := registered(b, old); n > 0 {
		t.Errorf("%d came back beside as many others", n)
	}
	// The same hosts in another namespace too, and then only there, make no room in the first.
	b, _ = full.Assign(in(old, "greedy", "helper"), noon)
	b, _ = b.Assign(slices.Concat(in(old, "helper"), in(young, "greedy")), noon)
	if n := registered(b, young); n > half/2 {
		t.Errorf("%d more by a second namespace", n)
	}
	b, _ = b.Assign(slices.Concat(in(all[:vip.Slots], "helper"), in(all[vip.Slots:vip.Slots+half], "greedy")), noon)
	if n := registered(b, all); n > vip.Slots-vip.Slots/5 {
		t.Errorf("two namespaces have %d of %d", n, vip.Slots)
	}
}

// A book of before there were parts: nobody loses a slot, who has much gets no more, and
// others get theirs of what is free.
func TestABookWithoutPartsStaysAsItIs(t *testing.T) {
	t.Parallel()
	const many = 40_000
	all := names(many + 100)
	before, _ := vip.Book(nil).Assign(wanted(all[:many]), noon)
	for host, a := range before {
		a.Namespace = ""
		before[host] = a
	}
	b, left := before.Assign(slices.Concat(in(all[:many], "greedy"), in(all[many:many+50], "greedy"), in(all[many+50:], "modest")), noon)
	if len(left) != 50 || registered(b, all[many+50:]) != 50 {
		t.Errorf("left over: %d of 50", len(left))
	}
	for _, host := range all[:many] {
		if is, _ := b.Slot(host); is != before[host].Slot {
			t.Fatalf("%s moved", host)
		}
	}
}

func BenchmarkAssignTenThousandKnownHosts(b *testing.B) {
	hosts := wanted(names(10_000))
	book, _ := vip.Book(nil).Assign(hosts, noon)
	for b.Loop() {
		book, _ = book.Assign(hosts, noon)
	}
}

// wanted registers each host in a namespace of its own.
func wanted(hosts []string) []vip.Wanted {
	out := make([]vip.Wanted, len(hosts))
	for i, host := range hosts {
		out[i] = vip.Wanted{Host: host, Namespaces: []string{host}}
	}
	return out
}

// in registers all hosts in the same namespaces.
func in(hosts []string, namespaces ...string) []vip.Wanted {
	out := wanted(hosts)
	for i := range out {
		out[i].Namespaces = namespaces
	}
	return out
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
