package main

import (
	"sync"
	"time"
)

// registration remembers when a host was registered and when not, and says what
// policy orders for a request.
type registration struct {
	mu      sync.Mutex
	changes []change
	slowest time.Duration // from a change's writing to the first request that followed it
}

// change is a write of the configuration. Between its beginning and its being in
// force both the old and the new are right.
type change struct {
	registered bool
	begun      time.Time
	written    time.Time
	followed   bool
}

// graceOfChange bounds that time. "Within a second" is promised on a machine that
// is not overloaded.
const graceOfChange = 6 * time.Second

func (r *registration) begin(registered bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.changes = append(r.changes, change{registered: registered, begun: now, written: now.Add(time.Hour)})
	if len(r.changes) > 8 {
		r.changes = r.changes[1:]
	}
}

func (r *registration) written() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes[len(r.changes)-1].written = time.Now()
}

// allows says whether a request that lasted from one time to another may have been
// served, and whether it may have been refused.
func (r *registration) allows(from, to time.Time) (served, refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, c := range r.changes {
		until := to
		if i+1 < len(r.changes) {
			until = r.changes[i+1].written.Add(graceOfChange)
		}
		if c.begun.After(to) || until.Before(from) {
			continue
		}
		served = served || c.registered
		refused = refused || !c.registered
	}
	return served, refused
}

// saw notes what became of a request, to know how long a change took.
func (r *registration) saw(served bool, began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.changes) == 0 {
		return
	}
	c := &r.changes[len(r.changes)-1]
	if c.followed || c.registered != served || began.Before(c.written) {
		return
	}
	c.followed = true
	r.slowest = max(r.slowest, began.Sub(c.written))
}

// forget drops what was measured so far: the first change waits for the proxy's start.
func (r *registration) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slowest = 0
}
