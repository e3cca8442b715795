package proxy

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// idleCrowd bounds the connections to servers that wait for another request, whatever their
// time: below a wildcard there is a set of them for each name that an application
// invents. The longest idle go first. It is looked at only when a connection is made,
// so requests do not pay for it.
type idleCrowd struct {
	open     atomic.Int64 // connections to servers, or being made
	thinning *chore

	mu    sync.Mutex
	short bool          // descriptors ran out
	pass  chan struct{} // closed when the next pass has ended; nil: nobody waits for it
}

// Bounds of how often idle connections are looked through, and of which go: not those
// that a burst uses again and again, unless their descriptors are wanted.
const (
	thinEvery  = 100 * time.Millisecond
	thinInNeed = 10 * time.Millisecond
	restful    = time.Second
)

// begun counts one more connection, and gone one less.
func (x *idleCrowd) begun(l *Limits) {
	if x.open.Add(1) > int64(min(l.Idle, l.Connections)) {
		x.thinning.ring()
	}
}

func (x *idleCrowd) gone() { x.open.Add(-1) }

// relieve waits until idle connections have given their descriptors up, or ctx ends.
func (x *idleCrowd) relieve(ctx context.Context) {
	select {
	case <-x.press():
	case <-ctx.Done():
	}
}

// press asks for descriptors. What it returns is closed when that is done.
func (x *idleCrowd) press() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.pass == nil {
		x.pass = make(chan struct{})
	}
	x.short = true
	x.thinning.ring()
	return x.pass
}

// thin runs while there are too many.
func (p *pools) thin(ctx context.Context, c *chore) {
	x := &p.crowd
	again := time.NewTimer(restful)
	again.Stop()
	for young := false; young || !c.rests(); {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		case <-c.wake:
		}
		x.mu.Lock()
		pass, short := x.pass, x.short
		x.pass, x.short = nil, false
		x.mu.Unlock()
		need := short || x.open.Load() > int64(p.server.cfg.Limits.Connections)
		if young = p.thinOnce(ctx, short, need); young {
			again.Reset(restful)
		}
		switch {
		case pass != nil:
			close(pass)
		case need:
			p.server.wait(ctx, thinInNeed)
		default:
			p.server.wait(ctx, thinEvery)
		}
	}
}

// thinOnce closes the longest idle where there are too many. It leaves a quarter of the
// room free: the next connection is not to have it begin again. short: descriptors ran
// out; need: they are wanted. young says that some are to go later.
func (p *pools) thinOnce(ctx context.Context, short, need bool) (young bool) {
	l := &p.server.cfg.Limits
	since := p.idleSince(ctx)
	active := int(p.crowd.open.Load()) - len(since)
	room := max(min(l.Idle, l.Connections-active), 0)
	last := time.Now()
	if short {
		room = min(room, len(since)/2)
	}
	if !need {
		last = last.Add(-restful)
	}
	if len(since) <= room {
		return false
	}
	slices.SortFunc(since, time.Time.Compare)
	at := since[len(since)-1-room*3/4]
	if young = at.After(last); !young {
		last = at
	}
	p.giveUpIdle(ctx, last)
	return young
}

// idleSince says of each idle connection since when it is.
func (p *pools) idleSince(ctx context.Context) (all []time.Time) {
	now := time.Now()
	for _, u := range p.all() {
		u.mu.Lock()
		for _, idle := range u.idle {
			for _, c := range idle {
				all = append(all, c.since)
			}
		}
		u.mu.Unlock()
		for _, hc := range u.http2Conns() {
			if idle := hc.IdleFor(now); idle > 0 {
				all = append(all, now.Add(-idle))
			}
		}
	}
	inLanes := make([][]time.Time, len(p.server.lanes))
	if p.inLanes(ctx, func(ln *lane) {
		ln.eachIdle(func(up *laneUpstream) { inLanes[ln.number] = append(inLanes[ln.number], up.since) })
	}) {
		all = append(all, slices.Concat(inLanes...)...)
	}
	return all
}

// giveUpIdle closes the connections that are idle since last or longer.
func (p *pools) giveUpIdle(ctx context.Context, last time.Time) {
	p.inLanes(ctx, func(ln *lane) {
		ln.eachIdle(func(up *laneUpstream) {
			if !up.since.After(last) {
				ln.discard(up)
			}
		})
	})
	now := time.Now()
	for _, u := range p.all() {
		closeAll(u.takeIdle(last))
		for _, hc := range u.http2Conns() {
			if idle := hc.IdleFor(now); idle > 0 && !now.Add(-idle).After(last) {
				hc.Shutdown()
			}
		}
	}
}

// takeIdle takes the connections that are idle since last or longer out of the pool. A
// key's are in the order in which they came.
func (u *upstream) takeIdle(last time.Time) (ends []*upstreamConn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, idle := range u.idle {
		n := 0
		for n < len(idle) && !idle[n].since.After(last) {
			n++
		}
		ends = append(ends, idle[:n]...)
		if idle = slices.Delete(slices.Clone(idle), 0, n); len(idle) > 0 {
			u.idle[key] = idle
		} else {
			delete(u.idle, key)
		}
	}
	return ends
}

// all are the upstreams there are.
func (p *pools) all() []*upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*upstream, 0, len(p.byKey))
	for _, u := range p.byKey {
		all = append(all, u)
	}
	return all
}

// inLanes has each lane do something on its loop and waits until all have, which it
// reports, or ctx ends.
func (p *pools) inLanes(ctx context.Context, do func(*lane)) (all bool) {
	posted, done := 0, make(chan struct{}, len(p.server.lanes))
	for _, ln := range p.server.lanes {
		if ln.loop.Post(func() { do(ln); done <- struct{}{} }) { // else it has ended, and closed what it had
			posted++
		}
	}
	for range posted {
		select {
		case <-done:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// eachIdle goes through the lane's idle connections, which do may discard.
func (ln *lane) eachIdle(do func(*laneUpstream)) {
	for u := range ln.upstreams {
		for _, idle := range u.lanes[ln.number].idle {
			for _, up := range slices.Clone(idle) {
				do(up)
			}
		}
	}
}
