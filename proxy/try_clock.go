package proxy

import (
	"sync"
	"time"
)

// tryClock bounds the wait for a request's answer. The route's timeout begins when the
// whole request has gone, and is one for all its tries; perTryTimeout begins then, or
// when the try has its connection, whichever is later, and ends with the answer's head
// (Envoy's router). One goroutine may send the request while another waits.
type tryClock struct {
	route, perTry time.Duration // 0: none

	mu    sync.Mutex
	whole time.Time // when all of the request had gone; zero: not yet
	tried time.Time // when the try under way had its connection; zero: none, or it is being answered
	bound bound
}

// bound is what ends a wait: a connection's deadline, or an alarm.
type bound interface{ cap(time.Time) }

// overdueBy is whose time is up.
type overdueBy uint8

const (
	inTime overdueBy = iota
	tryOverdue
	routeOverdue
)

func (k *tryClock) begin(route, perTry time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.route, k.perTry = route, perTry
	k.whole, k.tried, k.bound = time.Time{}, time.Time{}, nil
}

// limited says that there is a timeout at all.
func (k *tryClock) limited() bool { return k.route > 0 || k.perTry > 0 }

// try begins a try, which b ends.
func (k *tryClock) try(now time.Time, b bound) {
	if !k.limited() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried, k.bound = now, b
	k.move()
}

// follow has b end the try under way from now on.
func (k *tryClock) follow(b bound) {
	if !k.limited() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bound = b
	k.move()
}

// sent says that all of the request has gone; what is said later is not heard.
func (k *tryClock) sent(at time.Time) {
	if !k.limited() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.whole.IsZero() {
		k.whole = at
		k.move()
	}
}

// answered says that the answer has begun: only the route's timeout bounds it.
func (k *tryClock) answered() {
	if k.perTry == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried = time.Time{}
	k.move()
}

// stop ends all bounds.
func (k *tryClock) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.bound != nil {
		k.bound.cap(time.Time{})
		k.bound = nil
	}
}

func (k *tryClock) move() {
	if k.bound == nil {
		return
	}
	if end := k.earlier(); !end.IsZero() || k.perTry > 0 {
		k.bound.cap(end)
	}
}

// end is when the wait ends; zero is never.
func (k *tryClock) end() time.Time {
	if !k.limited() {
		return time.Time{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.earlier()
}

// routeEnd is when the route's timeout ends; zero is never, or not known yet.
func (k *tryClock) routeEnd() time.Time {
	if k.route == 0 {
		return time.Time{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.routeEnds()
}

func (k *tryClock) earlier() time.Time {
	end := k.routeEnds()
	if try := k.tryEnds(); !try.IsZero() && (end.IsZero() || try.Before(end)) {
		end = try
	}
	return end
}

func (k *tryClock) routeEnds() time.Time {
	if k.route == 0 || k.whole.IsZero() {
		return time.Time{}
	}
	return k.whole.Add(k.route)
}

func (k *tryClock) tryEnds() time.Time {
	if k.perTry == 0 || k.whole.IsZero() || k.tried.IsZero() {
		return time.Time{}
	}
	if k.tried.Before(k.whole) {
		return k.whole.Add(k.perTry)
	}
	return k.tried.Add(k.perTry)
}

// overdue says whether time is up at now, and whose.
func (k *tryClock) overdue(now time.Time) overdueBy {
	if !k.limited() {
		return inTime
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if end := k.routeEnds(); !end.IsZero() && !now.Before(end) {
		return routeOverdue
	}
	if end := k.tryEnds(); !end.IsZero() && !now.Before(end) {
		return tryOverdue
	}
	return inTime
}

// alarm is a bound that calls ring, perhaps once too often: ring looks at the clock.
type alarm struct {
	ring func()

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
	ringing sync.WaitGroup
}

func (a *alarm) cap(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case at.IsZero() && a.timer != nil:
		a.timer.Stop()
	case at.IsZero() || a.stopped:
	case a.timer == nil:
		a.timer = time.AfterFunc(time.Until(at), a.expired)
	default:
		a.timer.Reset(time.Until(at))
	}
}

func (a *alarm) expired() {
	a.mu.Lock()
	if a.stopped {
		a.mu.Unlock()
		return
	}
	a.ringing.Add(1)
	a.mu.Unlock()
	defer a.ringing.Done()
	a.ring()
}

// stop returns when ring will not be called any more, nor runs.
func (a *alarm) stop() {
	a.mu.Lock()
	a.stopped = true
	if a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Unlock()
	a.ringing.Wait()
}
