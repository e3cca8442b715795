package file

import (
	"time"

	"github.com/sluice-cni/sluice/mesh/inforce"
)

// Looking at all resources together takes a hundred milliseconds of a processor where
// there are tens of thousands. It follows a change, no change waits for it, and it takes
// no more than a tenth of the time.
const (
	checkEvery = time.Second
	checkShare = 10
)

// checks has the resources in force looked at together every now and then. It is used
// by one goroutine, its owner's.
type checks struct {
	store   *Store
	timer   *time.Timer
	waiting bool // for the timer
	running bool // done will tell
	begun   time.Time
	took    time.Duration
	done    chan struct{}
}

func newChecks(s *Store) *checks {
	c := &checks{store: s, timer: time.NewTimer(time.Hour), done: make(chan struct{}, 1)}
	c.timer.Stop()
	return c
}

// want plans a look if there is something new.
func (c *checks) want() {
	if c.running || c.waiting || !c.store.unchecked() {
		return
	}
	c.waiting = true
	c.timer.Reset(max(0, time.Until(c.begun.Add(max(checkEvery, checkShare*c.took)))))
}

func (c *checks) due() <-chan time.Time { return c.timer.C }

func (c *checks) begin() {
	c.waiting, c.running, c.begun = false, true, time.Now()
	go func() {
		c.store.check()
		c.done <- struct{}{}
	}()
}

func (c *checks) end() { c.running, c.took = false, time.Since(c.begun) }

// close waits for a look that goes on.
func (c *checks) close() {
	c.timer.Stop()
	if c.running {
		<-c.done
	}
}

func (s *Store) unchecked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, generation := inforce.Latest(&s.state)
	return s.reviewed < generation
}
