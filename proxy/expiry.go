package proxy

import (
	"container/heap"
	"math"
	"sync"
	"time"
)

// forever is longer than anything lasts.
const forever = time.Duration(math.MaxInt64)

// idleFor is how long an HTTP connection of the upstream is kept without a request.
func (u *upstream) idleFor() time.Duration {
	switch d := u.latest().HTTPIdle; {
	case d == 0:
		return idleTimeout
	case d < 0:
		return forever
	default:
		return d
	}
}

// ends is when a connection that is idle since then ends; the zero time is never.
func (u *upstream) ends(idle, born time.Time) (at time.Time) {
	if d := u.idleFor(); d != forever {
		at = idle.Add(d)
	}
	if age := u.latest().MaxAge; age > 0 {
		if old := born.Add(age); at.IsZero() || old.Before(at) {
			at = old
		}
	}
	return at
}

// expired says that an idle connection has come to its end, though nobody has ended it yet.
func (c *upstreamConn) expired(now time.Time) bool {
	at := c.up.ends(c.since, c.born)
	return !at.IsZero() && !now.Before(at)
}

// old says that a connection has lasted as long as one may.
func (c *upstreamConn) old(now time.Time) bool {
	age := c.up.latest().MaxAge
	return age > 0 && now.Sub(c.born) >= age
}

// expiries are when upstreams have connections to end, as far as the next sweep would be
// too late for them: a heap, of which the pools' goroutine has the timer.
type expiries struct {
	mu       sync.Mutex
	heap     expiryHeap
	sweeping *chore
}

type expiry struct {
	at time.Time
	u  *upstream
}

// expireAt has the upstream look for connections to end at a time, unless it is never or
// the sweep comes as soon.
func (u *upstream) expireAt(at time.Time) {
	if at.IsZero() || time.Until(at) > sweepEvery {
		return
	}
	x := &u.server.pools.expiries
	x.mu.Lock()
	defer x.mu.Unlock()
	if !u.looksAt.IsZero() && !at.Before(u.looksAt) {
		return
	}
	u.looksAt = at
	heap.Push(&x.heap, expiry{at, u})
	if x.heap[0].u == u {
		x.sweeping.ring()
	}
}

// due takes who is to look by now, and says when the next is; the zero time is none.
func (x *expiries) due(now time.Time) (all []*upstream, next time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.heap) > 0 {
		if first := x.heap[0]; first.at.After(now) {
			return all, first.at
		}
		if e := heap.Pop(&x.heap).(expiry); e.u.looksAt.Equal(e.at) { // else it looked earlier
			e.u.looksAt = time.Time{}
			all = append(all, e.u)
		}
	}
	return all, time.Time{}
}

// expireDue ends what has come to its end and sets soon to when there is more to do.
func (p *pools) expireDue(now time.Time, soon *time.Timer) {
	all, next := p.expiries.due(now)
	for _, u := range all {
		u.expire(now)
		u.expireHTTP2(now)
	}
	if next.IsZero() {
		soon.Stop()
		return
	}
	soon.Reset(max(time.Until(next), 0))
}

type expiryHeap []expiry

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(e any)        { *h = append(*h, e.(expiry)) }

func (h *expiryHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = expiry{}
	*h = old[:len(old)-1]
	return e
}
