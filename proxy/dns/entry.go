package dns

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// TTLs the resolver imposes where DNS gives none or an absurd one, and how long
// things are kept beyond them.
const (
	minTTL       = 1 * time.Second // of a positive answer
	maxTTL       = 1 * time.Hour   // of a positive answer
	negativeTTL  = 5 * time.Second // of "no such name" and "no address"
	failureTTL   = 2 * time.Second // of silent or failing servers, doubled each time
	maxFailure   = 1 * time.Minute // and at most this
	hostsTTL     = 2 * time.Second // of a line in the hosts file
	maxJitter    = 1 * time.Second // a tenth of the TTL, at most this
	staleFor     = 24 * time.Hour  // how long a last good answer outlives its TTL while servers fail
	unusedFor    = 5 * time.Minute // how long a name is asked for again without anybody using it,
	unusedTTLs   = 10              // and at most so many times its TTL
	recentFor    = 5 * time.Minute // how long an address that left a name is still taken for its own
	recentAtMost = 64              // such addresses of one name
)

// entry is one name. Its fields are guarded by Resolver.mu.
type entry struct {
	name   string
	four   family
	six    family
	addrs  []netip.Addr // of both; never modified once set
	err    error        // why there are none
	recent []departed

	used     time.Time // by a lookup
	filled   time.Time // by an answer of any kind
	expires  time.Time
	ttl      time.Duration
	failures int // lookups in a row that gave nothing

	busy   bool          // a lookup is under way,
	inTime bool          // and the last answer was still good when it began, or is of this one
	done   chan struct{} // non-nil until it has a first result

	due   time.Time
	place int // in the queue, -1 outside it
}

// family is what is known of one record type.
type family struct {
	addrs []netip.Addr
	good  time.Time // when addrs came from a server
}

// departed is an address that a name no longer has.
type departed struct {
	addr  netip.Addr
	until time.Time
}

// found is the outcome of one lookup: what each record type gave.
type found struct{ four, six result }

type result struct {
	addrs []netip.Addr
	ttl   time.Duration
	err   error // nil, ErrNotFound, or a failure that says nothing about the name
}

var errPending = errors.New("no answer yet")

// fromFile is the outcome of a look into the hosts file.
func fromFile(addrs []netip.Addr) found {
	f := found{four: result{err: ErrNotFound}, six: result{err: ErrNotFound}}
	for _, a := range addrs {
		of := &f.six
		if a.Is4() {
			of = &f.four
		}
		*of = result{addrs: append(of.addrs, a), ttl: hostsTTL}
	}
	return f
}

// begin notes that a lookup is under way.
func (e *entry) begin(now time.Time) {
	e.busy, e.inTime = true, e.warm(now)
	e.done = make(chan struct{})
}

// warm says that the entry's answer may be used without waiting: it is within its
// TTL, or past it and being renewed, or just past it.
func (e *entry) warm(now time.Time) bool {
	switch {
	case e.filled.IsZero():
		return false
	case now.Before(e.expires):
		return true
	case e.busy:
		return e.inTime
	}
	return now.Sub(e.expires) < overdue
}

// store takes in the outcome of a lookup. A failure is no answer: what was known
// of that record type stays. "No such name" is one, and empties it.
func (e *entry) store(got found, now time.Time) {
	before := e.addrs
	e.four.store(got.four, now)
	e.six.store(got.six, now)
	e.addrs = slices.Concat(e.four.addrs, e.six.addrs)
	e.filled = now
	e.err = nil
	switch {
	case got.four.err == nil || got.six.err == nil:
		e.failures, e.ttl = 0, min(max(smaller(got.four, got.six), minTTL), maxTTL)
	case got.four.notFound() && got.six.notFound():
		e.failures, e.ttl, e.err = 0, negativeTTL, got.four.err
	default:
		e.ttl = min(failureTTL<<min(e.failures, 10), maxFailure)
		e.failures++
		if len(e.addrs) == 0 {
			e.err = got.failure()
		}
	}
	e.expires = now.Add(e.ttl)
	e.depart(before, now)
}

func (f *family) store(r result, now time.Time) {
	switch {
	case r.err == nil:
		f.addrs, f.good = r.addrs, now
	case r.notFound() || now.Sub(f.good) >= staleFor:
		f.addrs = nil
	}
}

func (r result) notFound() bool { return errors.Is(r.err, ErrNotFound) }

// failure is the error of the record type that failed.
func (f found) failure() error {
	if f.four.notFound() {
		return f.six.err
	}
	return f.four.err
}

// smaller is the smaller TTL of those that came.
func smaller(a, b result) time.Duration {
	switch {
	case a.err != nil:
		return b.ttl
	case b.err != nil:
		return a.ttl
	}
	return min(a.ttl, b.ttl)
}

// depart remembers which addresses the name had and has no more.
func (e *entry) depart(before []netip.Addr, now time.Time) {
	e.recent = slices.DeleteFunc(e.recent, func(d departed) bool {
		return !now.Before(d.until) || slices.Contains(e.addrs, d.addr)
	})
	for _, a := range before {
		if !slices.Contains(e.addrs, a) {
			e.recent = append(e.recent, departed{a, now.Add(recentFor)})
		}
	}
	if over := len(e.recent) - recentAtMost; over > 0 {
		e.recent = slices.Delete(e.recent, 0, over)
	}
}

func (e *entry) had(addr netip.Addr, now time.Time) bool {
	return slices.Contains(e.addrs, addr) ||
		slices.ContainsFunc(e.recent, func(d departed) bool { return d.addr == addr && now.Before(d.until) })
}

// wanted says whether the name is to be asked for again though nobody waits: not
// one without addresses that nobody used since, so that names somebody made up
// cost one lookup each.
func (e *entry) wanted(now time.Time) bool {
	if e.used.After(e.filled) {
		return true
	}
	return len(e.addrs) > 0 && now.Sub(e.used) < min(unusedFor, unusedTTLs*e.ttl)
}

// renewal is when to ask again: at the end of the TTL, a little later at random,
// so that names that were asked for together do not stay together.
func (e *entry) renewal() time.Time {
	return e.expires.Add(rand.N(min(e.ttl/10, maxJitter)))
}
