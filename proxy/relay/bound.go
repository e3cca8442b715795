package relay

import "time"

// Bounds are one pair's own.
type Bounds struct {
	// Idle is in place of Config.IdleTimeout; 0: that one. Negative: never.
	Idle time.Duration
	// Age is how long the pair lives at most; 0: as long as its sides want.
	Age time.Duration
}

// bound is what ends a pair within its bounds.
type bound struct {
	Bounds
	old   time.Duration // clock, when it is too old
	timer *time.Timer
}

// Bound gives a pair bounds of its own, once, soon after its begin. They hold to the
// millisecond.
func (p *Pair) Bound(b Bounds) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over || b == (Bounds{}) {
		return
	}
	now := clock()
	own := &bound{Bounds: b, old: now + b.Age}
	p.bound = own
	if wait := own.wait(now, p.active); wait > 0 {
		own.timer = time.AfterFunc(wait, p.outOfBounds)
	}
}

// wait is how long a pair may go on, 0 for as long as it likes.
func (b *bound) wait(now, active time.Duration) (wait time.Duration) {
	if b.Idle > 0 {
		wait = max(active+b.Idle-now, time.Millisecond)
	}
	if left := max(b.old-now, time.Millisecond); b.Age > 0 && (wait == 0 || left < wait) {
		wait = left
	}
	return wait
}

// outOfBounds is called when a bound may have been reached.
func (p *Pair) outOfBounds() {
	p.mu.Lock()
	now, b := clock(), p.bound
	switch {
	case p.over || p.linger != nil:
	case b.Age > 0 && now >= b.old:
		p.abort(TooOld)
	case b.Idle > 0 && now-p.active >= b.Idle:
		p.abort(IdleTimeout)
	default:
		b.timer.Reset(b.wait(now, p.active))
	}
	p.unlock()
}

// stop is for a pair that has ended; nil is without bounds.
func (b *bound) stop() {
	if b != nil && b.timer != nil {
		b.timer.Stop()
	}
}
