package proxy

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// health is what outlier detection knows of a target. Counting uses atomics only; the
// rest belongs to who holds the upstream's ejecting.
type health struct {
	failures, gateway, local atomic.Uint32 // in a row
	until                    atomic.Int64  // when its ejection ends, Unix nanoseconds; 0: it was never ejected
	by                       atomic.Pointer[ejection]

	times uint32 // ejections, less one for each interval without
}

// maxEjection is the longest that an ejection lasts, unless the first lasts longer
// (Envoy's max_ejection_time).
const maxEjection = 300 * time.Second

// ever is longer than any ejection has to last, and what is counted in it does not overflow.
const ever = time.Duration(1) << 60

// count notes what became of a try and says whether it was one failure in a row too
// many.
func (h *health) count(o *mesh.Outlier, what outcome) (reached bool) {
	failed, gateway := true, true
	switch answered := what >= 100 || what == hostReached; {
	case answered:
		if failed, gateway = o.Fails(int(what)); o.Split {
			reset(&h.local)
		}
	case o.Split:
		return oneMore(&h.local, o.ConsecutiveLocal)
	}
	if !failed {
		reset(&h.failures)
		reset(&h.gateway)
		return false
	}
	if gateway {
		reached = oneMore(&h.gateway, o.ConsecutiveGateway)
	} else {
		reset(&h.gateway)
	}
	return oneMore(&h.failures, o.Consecutive5xx) || reached
}

// oneMore counts and says whether it is as many as eject, or more, as where fewer do
// since a moment ago. 0 is never.
func oneMore(n *atomic.Uint32, most uint32) bool { return n.Add(1) >= most && most > 0 }

// reset leaves what is shared by all requests alone where it can.
func reset(n *atomic.Uint32) {
	if n.Load() != 0 {
		n.Store(0)
	}
}

func (h *health) clear() {
	reset(&h.failures)
	reset(&h.gateway)
	reset(&h.local)
}

// ejected says whether the target is left out at a time.
func (h *health) ejected(now int64) bool { return h.until.Load() > now }

// eject begins an ejection, whose end is at the first look after it: one each interval,
// counted from the first. It lasts as often as it was ejected the base time; each
// interval since its last ejection makes that one less.
func (h *health) eject(o *mesh.Outlier, first, now time.Time) (until time.Time) {
	base, interval := min(o.Base, ever), min(o.Interval, ever)
	if was := h.until.Load(); was > 0 {
		h.times -= uint32(min(int64(h.times), max(now.UnixNano()-was, 0)/int64(interval)))
	}
	longest := max(maxEjection, base)
	if base*time.Duration(h.times) < longest+base { // once beyond the longest, as in Envoy
		h.times++
	}
	lasts := min(base*time.Duration(h.times), longest)
	looks := (now.Sub(first) + lasts + interval - 1) / interval
	until = first.Add(looks * interval)
	h.clear()
	h.until.Store(until.UnixNano())
	return until
}

// mayEject says whether one more of n targets may be ejected.
func mayEject(o *mesh.Outlier, ejected, n int) bool { return 100*(ejected+1) <= o.MaxPercent*n }

// panics says that so many targets are ejected that all are used.
func panics(o *mesh.Outlier, ejected, n int) bool { return 100*(n-ejected) < o.MinHealth*n }

// report is told of each try, by goroutines and loops alike. why is how it failed, nil
// for an answer.
func (u *upstream) report(addr netip.AddrPort, what outcome, why error) {
	if o := u.latest().Outlier; o != nil {
		u.judge(o, addr, what, why, time.Now())
	}
}

func (u *upstream) judge(o *mesh.Outlier, addr netip.AddrPort, what outcome, why error, now time.Time) {
	u.knowing.RLock()
	t := u.targets[addr]
	u.knowing.RUnlock()
	// What was under way when it was ejected proves nothing more.
	if t != nil && !t.ejected(now.UnixNano()) && t.count(o, what) {
		u.eject(o, t, u.ejection(what, why, now), now)
	}
}

// eject leaves a target out for a time, as long as enough of its fleet are left.
func (u *upstream) eject(o *mesh.Outlier, t *target, by *ejection, now time.Time) {
	u.ejecting.Lock()
	defer u.ejecting.Unlock()
	t.clear() // whether it is ejected or not
	if t.ejected(now.UnixNano()) {
		return
	}
	may := false
	u.fleets.each(func(f *fleet) {
		of := func(m member) bool { return m.target == t }
		may = may || slices.ContainsFunc(f.members, of) && mayEject(o, f.ejected(now.UnixNano()), len(f.members))
	})
	if !may {
		return
	}
	if u.first.IsZero() {
		u.first = now
	}
	t.by.Store(by) // before anybody finds it ejected
	until := t.eject(o, u.first, now).UnixNano()
	u.lastEjected.Store(max(u.lastEjected.Load(), until))
}

// ejected counts the targets that are left out.
func (f *fleet) ejected(now int64) (n int) {
	for i := range f.members {
		if f.members[i].ejected(now) {
			n++
		}
	}
	return n
}

// judges says that a target of the upstream may be ejected at the moment.
func (u *upstream) judges(o *mesh.Outlier) bool { return o != nil && u.lastEjected.Load() != 0 }

// leftOut is the time, for a choice from a fleet of which some are ejected; 0 where none
// is, or none counts as such.
func (u *upstream) leftOut(o *mesh.Outlier, f *fleet, now time.Time) (at int64) {
	at = now.UnixNano()
	if last := u.lastEjected.Load(); last <= at {
		u.lastEjected.CompareAndSwap(last, 0)
		return 0
	}
	if n := f.ejected(at); n == 0 || panics(o, n, len(f.members)) {
		return 0
	}
	return at
}
