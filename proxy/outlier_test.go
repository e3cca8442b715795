package proxy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// ward is an upstream of n addresses under outlier detection, with a clock of its own.
type ward struct {
	u   *upstream
	f   *fleet
	o   mesh.Outlier
	now time.Time
}

func newWard(n int, o mesh.Outlier) *ward {
	w := &ward{u: &upstream{server: &Server{}}, o: o, now: time.Unix(1_000_000, 0)}
	if w.o.Interval == 0 {
		w.o.Interval = time.Second
	}
	if w.o.Base == 0 {
		w.o.Base = 10 * time.Second
	}
	if w.o.MaxPercent == 0 {
		w.o.MaxPercent = 100
	}
	var from []source
	for i := range n {
		from = append(from, source{written: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), port: 80, weight: 1})
	}
	w.f = w.u.newFleet(&mesh.Cluster{}, from)
	w.u.fleets.set("", w.f)
	return w
}

// tell reports what became of tries at one address.
func (w *ward) tell(i int, what ...outcome) {
	for _, o := range what {
		w.u.judge(&w.o, w.f.members[i].addr, o, nil, w.now)
	}
}

// out lists the ejected.
func (w *ward) out() string {
	var out []string
	for i := range w.f.members {
		if w.f.members[i].ejected(w.now.UnixNano()) {
			out = append(out, fmt.Sprint(i))
		}
	}
	return strings.Join(out, " ")
}

func (w *ward) pick(draw uint32) *member {
	at := int64(0)
	if w.u.judges(&w.o) {
		at = w.u.leftOut(&w.o, w.f, w.now)
	}
	return w.f.pick(&Server{}, &mesh.Cluster{PoolSettings: mesh.PoolSettings{Balance: mesh.RoundRobin}}, at, &asked{}, draw)
}

func TestWhatEjectsAnEndpoint(t *testing.T) {
	t.Parallel()
	usual := mesh.Outlier{Consecutive5xx: 3}
	both := mesh.Outlier{Consecutive5xx: 4, ConsecutiveGateway: 2}
	split := mesh.Outlier{Consecutive5xx: 2, ConsecutiveLocal: 3, Split: true}
	for what, c := range map[string]struct {
		o    mesh.Outlier
		told []outcome
		want bool
	}{
		"two":                              {usual, []outcome{500, 599}, false},
		"three":                            {usual, []outcome{500, 503, 599}, true},
		"interrupted":                      {usual, []outcome{500, 500, 200, 500, 500}, false},
		"499 and 600 are none":             {usual, []outcome{499, 600, 404}, false},
		"a connection that failed":         {usual, []outcome{unreached, broken, overdue}, true},
		"mixed":                            {usual, []outcome{500, unreached, 502}, true},
		"a connection that stood":          {usual, []outcome{unreached, unreached, hostReached, unreached}, false},
		"off":                              {mesh.Outlier{}, []outcome{500, 500, 500, 500, 500, 500}, false},
		"gateway errors":                   {both, []outcome{502, 504}, true},
		"gateway errors apart":             {both, []outcome{502, 500, 504}, false},
		"gateway errors among others":      {both, []outcome{502, 500, 504, 500}, true},
		"failed connections are gateway's": {both, []outcome{unreached, overdue}, true},
		"split: answers":                   {split, []outcome{500, 500}, true},
		"split: no answers":                {split, []outcome{unreached, broken, overdue}, true},
		"split: not together":              {split, []outcome{unreached, unreached, 500, unreached, unreached}, false},
		"split: answers in spite of them":  {split, []outcome{500, unreached, 500}, true},
		"split, none do":                   {mesh.Outlier{Split: true}, []outcome{unreached, unreached, unreached}, false},
		"listed statuses":                  {mesh.Outlier{Consecutive5xx: 2, Codes: []int{404, 429}}, []outcome{429, 404}, true},
		"listed statuses alone":            {mesh.Outlier{Consecutive5xx: 2, Codes: []int{404, 429}}, []outcome{500, 503, 500}, false},
		"listed statuses and no answer":    {mesh.Outlier{Consecutive5xx: 2, Codes: []int{404}}, []outcome{404, unreached}, true},
	} {
		w := newWard(3, c.o)
		w.tell(1, c.told...)
		if got := w.out() == "1"; got != c.want || w.out() != "" && w.out() != "1" {
			t.Errorf("%s: %q is ejected", what, w.out())
		}
	}
}

func TestAnEjectionLastsLongerEachTimeAndEndsAtALook(t *testing.T) {
	t.Parallel()
	w := newWard(2, mesh.Outlier{Consecutive5xx: 1, Interval: 4 * time.Second, Base: 10 * time.Second})
	start := w.now
	ejectedFor := func() time.Duration {
		w.tell(0, 500)
		began := w.now
		for w.out() != "" {
			w.tell(0, 500, 500) // of requests that were under way: not counted
			w.now = w.now.Add(time.Second)
		}
		if w.now.Sub(start)%w.o.Interval != 0 {
			t.Errorf("it ended %v after the first ejection, not at a look", w.now.Sub(start))
		}
		return w.now.Sub(began)
	}
	for n, want := range []time.Duration{12, 20, 32, 40} { // 10, 20, 30, 40 and on to the next look
		if got := ejectedFor(); got != want*time.Second {
			t.Errorf("ejection %d: %v, want %v", n+1, got, want*time.Second)
		}
	}
	w.now = w.now.Add(2 * w.o.Interval) // two looks at which it was well: 4 - 2 + 1 times
	if got := ejectedFor(); got != 32*time.Second {
		t.Errorf("after two intervals: %v", got)
	}
	w.now = w.now.Add(time.Hour)
	if got := ejectedFor(); got < 10*time.Second || got > 14*time.Second {
		t.Errorf("after an hour: %v", got)
	}
	for range 100 {
		if got := ejectedFor(); got > maxEjection+w.o.Interval {
			t.Fatalf("an ejection of %v", got)
		}
	}
}

func TestNoMoreThanTheirShareAreEjected(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ hosts, percent, want int }{
		{9, 10, 0}, {10, 10, 1}, {19, 10, 1}, {20, 10, 2}, {1, 99, 0}, {1, 100, 1}, {3, 50, 1}, {4, 50, 2}, {5, 100, 5}, {3, 67, 2}, {3, 66, 1},
	} {
		w := newWard(c.hosts, mesh.Outlier{Consecutive5xx: 2, MaxPercent: c.percent})
		for range 3 {
			for i := range c.hosts {
				w.tell(i, 500, 500)
			}
		}
		if got := w.f.ejected(w.now.UnixNano()); got != c.want {
			t.Errorf("%d %% of %d: %d are ejected, want %d", c.percent, c.hosts, got, c.want)
		}
	}
}

func TestWhereAllAreEjectedThereIsNoneUnlessHealthSaysSo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		minHealth, ejected int
		used               string
	}{{0, 1, "1 2 3"}, {0, 3, "3"}, {0, 4, ""}, {50, 2, "2 3"}, {51, 2, "0 1 2 3"}, {50, 3, "0 1 2 3"}, {1, 4, "0 1 2 3"}} {
		w := newWard(4, mesh.Outlier{Consecutive5xx: 1, MinHealth: c.minHealth})
		for i := range c.ejected {
			w.tell(i, 500)
		}
		seen := map[*member]bool{}
		for draw := range uint32(8) {
			seen[w.pick(draw)] = true
		}
		var used []string
		for i := range w.f.members {
			if seen[&w.f.members[i]] {
				used = append(used, fmt.Sprint(i))
			}
		}
		if got := strings.Join(used, " "); got != c.used || (got == "") != seen[nil] {
			t.Errorf("%+v: %q are used", c, got)
		}
	}
}

// What DNS says changes all the time; what is known of an address that stays does not.
func TestAnAddressThatStaysKeepsItsEjection(t *testing.T) {
	t.Parallel()
	w := newWard(3, mesh.Outlier{Consecutive5xx: 3})
	w.tell(0, 500, 500)
	w.tell(1, 500, 500, 500)
	w.f = w.u.newFleet(&mesh.Cluster{}, append([]source{{written: netip.MustParseAddr("192.0.2.9"), port: 80, weight: 1}}, w.f.from[:2]...))
	w.u.fleets.set("", w.f)
	w.u.forgetTargets(w.now)
	w.tell(1, 500)
	if got := w.out(); got != "1 2" {
		t.Errorf("%q are ejected", got)
	}
	if n := len(w.u.targets); n != 3 {
		t.Errorf("%d addresses are known", n)
	}
}

// Whatever is reported in whatever order: never more than the share, always an end.
func TestEjectionsStayWithinTheirBoundsAndEnd(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		w := newWard(1+r.IntN(12), mesh.Outlier{
			Consecutive5xx: uint32(r.IntN(4)), ConsecutiveGateway: uint32(r.IntN(3)), ConsecutiveLocal: uint32(r.IntN(3)), Split: r.IntN(2) == 0,
			MaxPercent: 1 + r.IntN(100), Interval: time.Duration(1 + r.IntN(int(5*time.Second))), Base: time.Duration(1 + r.IntN(int(time.Minute))),
		})
		n := len(w.f.members)
		for range 400 {
			w.tell(r.IntN(n), []outcome{unreached, broken, overdue, 200, 500, 503, 503, 503}[r.IntN(8)])
			w.now = w.now.Add(time.Duration(r.IntN(int(2 * time.Second))))
			if out := w.f.ejected(w.now.UnixNano()); 100*out > w.o.MaxPercent*n {
				t.Fatalf("%d of %d are ejected: %+v", out, n, w.o)
			}
			if m := w.pick(r.Uint32()); m == nil != (w.f.ejected(w.now.UnixNano()) == n) || m != nil && m.ejected(w.now.UnixNano()) {
				t.Fatalf("picked %v of %d, ejected %q", m, n, w.out())
			}
		}
		w.now = w.now.Add(max(maxEjection, w.o.Base) + w.o.Interval)
		if out := w.out(); out != "" {
			t.Fatalf("%s are ejected for ever: %+v", out, w.o)
		}
	}
}

// Settings change under a pool: a host that has failed more often in a row than is borne
// now is ejected when it fails once more.
func TestAThresholdThatIsLoweredBelowWhatWasCountedEjects(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		before, after mesh.Outlier
	}{
		"5xx":     {mesh.Outlier{Consecutive5xx: 10}, mesh.Outlier{Consecutive5xx: 3}},
		"from 0":  {mesh.Outlier{}, mesh.Outlier{Consecutive5xx: 3}},
		"gateway": {mesh.Outlier{ConsecutiveGateway: 10}, mesh.Outlier{ConsecutiveGateway: 3}},
		"local":   {mesh.Outlier{Split: true, ConsecutiveLocal: 10}, mesh.Outlier{Split: true, ConsecutiveLocal: 3}},
	} {
		w := newWard(2, c.before)
		failure := outcome(503)
		if c.before.Split {
			failure = unreached
		}
		for range 5 {
			w.tell(0, failure)
		}
		c.after.Interval, c.after.Base, c.after.MaxPercent = w.o.Interval, w.o.Base, w.o.MaxPercent
		w.o = c.after
		if w.tell(0, failure); w.out() != "0" {
			t.Errorf("%s: %q are ejected", what, w.out())
		}
	}
}

// The longest that can be written is longer than durations count.
func TestVeryLongTimesEjectForLong(t *testing.T) {
	t.Parallel()
	for _, o := range []mesh.Outlier{{Base: math.MaxInt64}, {Interval: math.MaxInt64}, {Base: math.MaxInt64, Interval: math.MaxInt64}, {Base: time.Minute, Interval: time.Millisecond}} {
		o.Consecutive5xx = 1
		w := newWard(2, o)
		w.tell(0, 500)
		if w.now = w.now.Add(59 * time.Second); w.out() != "0" && o.Base >= time.Minute {
			t.Errorf("%+v: %q are ejected", o, w.out())
		}
		if w.now = w.now.Add(2 * time.Second); o.Base == time.Minute && w.out() != "" {
			t.Errorf("%+v: %q are ejected still", o, w.out())
		}
	}
}
