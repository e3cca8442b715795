package plugin

import (
	"context"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/selection"
)

// clock bounds a whole run. It starts with the default, since standard input has
// to be waited for as well, and takes the configuration's timeout once that is
// known.
type clock struct {
	started time.Time
	timer   *time.Timer

	mu      sync.Mutex
	timeout time.Duration
}

func startClock() *clock {
	return &clock{started: time.Now(), timer: time.NewTimer(selection.DefaultTimeout), timeout: selection.DefaultTimeout}
}

func (c *clock) up() <-chan time.Time { return c.timer.C }

// set makes the time run out a timeout after the start.
func (c *clock) set(limit time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timeout = limit
	c.timer.Reset(time.Until(c.started.Add(limit)))
}

// extend gives a last step time of its own.
func (c *clock) extend(by time.Duration) { c.timer.Reset(by) }

func (c *clock) limit() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.timeout
}

// part is a context that ends when a part of the run's time is over, in percent: what
// comes after it has the rest.
func (c *clock) part(percent int) (context.Context, context.CancelFunc) {
	return context.WithDeadline(context.Background(), c.started.Add(c.limit()*time.Duration(percent)/100))
}
