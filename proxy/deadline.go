package proxy

import (
	"sync"
	"time"
)

// deadline sets a connection's deadline only when it has to move by more than a
// little: on the path of every request the timer would cost more than the read.
// It may be capped by one goroutine while another reads under it.
type deadline struct {
	set func(time.Time) error

	mu      sync.Mutex
	current time.Time
	limit   time.Time // no deadline is later than this, unless zero
	woken   bool      // the deadline stays in the past
	resting bool      // nothing is under way: hurry counts
	hurried bool
}

// at sets the deadline; the zero time removes it.
func (d *deadline) at(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.move(t)
}

// within keeps the deadline between limit and 1/8 more than limit from now.
func (d *deadline) within(now time.Time, limit time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keep(now, limit)
}

func (d *deadline) keep(now time.Time, limit time.Duration) {
	left := d.current.Sub(now)
	capped := !d.limit.IsZero()
	if capped || d.current.IsZero() || left < limit || left > limit+limit/8 {
		d.move(now.Add(limit + limit/8))
	}
}

// rest is within while nothing is under way, until rouse.
func (d *deadline) rest(now time.Time, limit time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resting = true
	d.keep(now, limit)
}

// hurry has a rest end by a time, and does nothing else: what is under way has the time
// that it needs.
func (d *deadline) hurry(by time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.resting && by.Before(d.current) {
		d.hurried = true
		d.move(by)
	}
}

// rouse ends a rest, and says whether the rest was hurried.
func (d *deadline) rouse() (hurried bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	hurried = d.hurried
	if d.resting, d.hurried = false, false; hurried {
		d.move(time.Time{})
	}
	return hurried
}

// cap bounds the deadline in force and all later ones; the zero time lifts the bound.
func (d *deadline) cap(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = t
	if !t.IsZero() {
		d.move(t)
	}
}

// capped reports whether a time-out at now is due to the cap.
func (d *deadline) capped(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.limit.IsZero() && !now.Before(d.limit)
}

// wake ends whatever waits under the deadline and all that would wait from now
// on, until resume: a goroutine that is just about to set a deadline of its own
// cannot undo it.
func (d *deadline) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.move(longAgo)
	d.woken = true
}

// resume lifts wake; the next deadline is set anew.
func (d *deadline) resume() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.woken = false
}

// rebind makes d the deadline of another connection, or of the same socket in a new
// one: none is set there yet.
func (d *deadline) rebind(set func(time.Time) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set, d.current, d.limit, d.woken = set, time.Time{}, time.Time{}, false
	d.resting, d.hurried = false, false
}

// isWoken says that wake is in force: a time-out is none.
func (d *deadline) isWoken() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.woken
}

func (d *deadline) move(t time.Time) {
	if d.woken {
		return
	}
	if !d.limit.IsZero() && (t.IsZero() || d.limit.Before(t)) {
		t = d.limit
	}
	if !d.current.Equal(t) {
		d.current = t
		d.set(t)
	}
}
