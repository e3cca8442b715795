package proxy

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// breaker keeps the limits of a cluster's connection pool. What is not atomic belongs
// to who holds upstream.mu.
type breaker struct {
	conns   atomic.Int64 // open or being made
	queued  atomic.Int64 // who waits, or is about to
	retries atomic.Int64
	pending uint32   // requests without a connection: it is waited for, or being made
	waiting []*place // for an HTTP/1 connection, the oldest first
	roomy   *h2Dial  // for a stream
}

// place is that of a request in the line of those that wait for a connection, or for leave to make one.
type place struct {
	key  poolKey
	done chan grant // takes one
}

// grant is what such a request gets: a connection, leave to make one, or a refusal.
type grant struct {
	conn *upstreamConn
	err  error
}

// poolFull is a limit of the DestinationRule.
var poolFull = &overload{"the service's connection pool is as full as its DestinationRule allows (connectionPool)"}

// begun and gone count a connection from its dial to its end.
func (u *upstream) begun(t *target) {
	t.conns.Add(1)
	u.conns.Add(1)
	u.server.pools.crowd.begun(&u.server.cfg.Limits)
}

func (u *upstream) gone(t *target) {
	t.conns.Add(-1)
	u.conns.Add(-1)
	u.server.pools.crowd.gone()
	u.freed()
}

// freed lets those go on who wait: there may be room.
func (u *upstream) freed() {
	if u.queued.Load() > 0 {
		u.advance()
	}
}

// admit counts a connection for opaque bytes, which never waits for another's end.
func (u *upstream) admit(t *target) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	most := u.latest().Limits.Connections
	if most > 0 && u.conns.Load() >= int64(most) {
		return false
	}
	u.begun(t)
	return true
}

// active counts the requests under way.
func (u *upstream) active() (n int64) {
	u.knowing.RLock()
	defer u.knowing.RUnlock()
	for _, t := range u.targets {
		n += int64(t.active.Load())
	}
	return n + int64(u.others.active.Load())
}

func (u *upstream) full(l *mesh.Limits) bool {
	return l.Requests > 0 && u.active() >= int64(l.Requests)
}

// obtain gets a connection for an HTTP/1 request: an idle one where there is one and it
// may be, else a new one. Where the pool is full it waits for either, until ctx ends or
// the application leaves.
func (u *upstream) obtain(ctx context.Context, key poolKey, idle bool, here presence) (*upstreamConn, error) {
	l := &u.latest().Limits
	if !l.Wait() {
		if idle {
			if c := u.take(key); c != nil {
				return c, nil
			}
		}
		c, err := u.connect(ctx, key, alpnHTTP1)
		if err == nil {
			c.use()
		}
		return c, err
	}
	got, w := u.line(l, key, idle)
	if w != nil {
		err := here.await(ctx, func(ctx context.Context) error {
			select {
			case got = <-w.done:
				return nil
			case <-ctx.Done():
				u.leaveLine(w)
				return &connectError{err: ctx.Err()}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if got.conn != nil || got.err != nil {
		return got.conn, got.err
	}
	c, err := u.dial(ctx, key, alpnHTTP1)
	u.mu.Lock()
	u.pending--
	if err == nil {
		err = u.attach(l, c)
	}
	u.mu.Unlock()
	if err != nil && c != nil {
		u.put(c)
		return nil, err
	}
	return c, err
}

// spare is an idle connection, nil where there is none or others may have a claim to it.
func (u *upstream) spare(key poolKey) *upstreamConn {
	if u.latest().Limits.Wait() {
		return nil
	}
	return u.take(key)
}

// line finds an idle connection or leave to make one, or has the request wait.
func (u *upstream) line(l *mesh.Limits, key poolKey, idle bool) (grant, *place) {
	var ends []*upstreamConn
	defer func() { closeAll(ends) }()
	u.mu.Lock()
	defer u.mu.Unlock()
	for idle && len(u.idle[key]) > 0 {
		c := u.pop(key)
		if c.expired(time.Now()) || !c.open() {
			ends = append(ends, c)
			continue
		}
		if err := u.attach(l, c); err != nil {
			u.idle[key] = append(u.idle[key], c)
			return grant{err: err}, nil
		}
		c.reused = true
		return grant{conn: c}, nil
	}
	if l.Pending > 0 && u.pending >= l.Pending {
		return grant{err: poolFull}, nil
	}
	u.pending++
	u.queued.Add(1) // before looking: who ends a connection looks after that
	if u.slot(l, key, &ends) {
		u.queued.Add(-1)
		return grant{}, nil
	}
	w := &place{key: key, done: make(chan grant, 1)}
	u.waiting = append(u.waiting, w)
	return grant{}, w
}

// pop takes the youngest of a key's idle connections, of which there are some, out of
// the pool. Called with mu held.
func (u *upstream) pop(key poolKey) *upstreamConn {
	idle := u.idle[key]
	c := idle[len(idle)-1]
	idle[len(idle)-1] = nil
	u.idle[key] = idle[:len(idle)-1]
	return c
}

// closeAll is for without mu: closing may wait for TLS's last words, and lets others on.
func closeAll(conns []*upstreamConn) {
	for _, c := range conns {
		c.close()
	}
}

// attach has a connection carry a request, unless there are too many. Called with mu held.
func (u *upstream) attach(l *mesh.Limits, c *upstreamConn) error {
	if u.full(l) {
		return poolFull
	}
	c.use()
	return nil
}

// slot counts a connection that is to be made, unless there are too many. One that is
// idle for another address or name gives way to it: it ends, or joins ends for closeAll.
// Called with mu held.
func (u *upstream) slot(l *mesh.Limits, key poolKey, ends *[]*upstreamConn) bool {
	t := u.target(key.addr)
	if l.Connections > 0 && u.conns.Load()-u.lying.Load() >= int64(l.Connections) && t.conns.Load() > 0 {
		if !u.yields(key, ends) {
			return false
		}
	}
	u.begun(t)
	return true
}

// yields has an idle connection of another key than this end, and says whether there is
// one. One of HTTP/2 that nothing was asked over is still for who waited for it. Called
// with mu held.
func (u *upstream) yields(key poolKey, ends *[]*upstreamConn) bool {
	for other, idle := range u.idle {
		if other != key && len(idle) > 0 {
			*ends = append(*ends, u.pop(other))
			return true
		}
	}
	for other, g := range u.h2 {
		lies := func(hc *h2Conn) bool { return hc.opened > 0 && hc.active.Load() == 0 }
		if i := slices.IndexFunc(g.conns, lies); i >= 0 && other != key {
			g.conns[i].Shutdown()
			g.conns = slices.Delete(g.conns, i, i+1)
			return true
		}
	}
	return false
}

// advance gives leave to those who wait as far as there is room.
func (u *upstream) advance() {
	l := &u.latest().Limits
	var ends []*upstreamConn
	u.mu.Lock()
	for len(u.waiting) > 0 {
		w := u.waiting[0]
		if !u.slot(l, w.key, &ends) {
			break
		}
		u.waiting = slices.Delete(u.waiting, 0, 1)
		u.queued.Add(-1)
		w.done <- grant{}
	}
	if u.roomy != nil {
		u.queued.Add(-u.roomy.waiting)
		close(u.roomy.done)
		u.roomy = nil
	}
	u.mu.Unlock()
	closeAll(ends)
}

// handOver gives a connection that has become idle to the first who waits for one like
// it, and says whether there is one. Called with mu held.
func (u *upstream) handOver(c *upstreamConn) bool {
	i := slices.IndexFunc(u.waiting, func(w *place) bool { return w.key == c.key })
	if i < 0 {
		return false
	}
	w := u.waiting[i]
	u.waiting = slices.Delete(u.waiting, i, i+1)
	u.queued.Add(-1)
	u.pending--
	c.reused = true
	err := u.attach(&u.latest().Limits, c)
	if err != nil {
		w.done <- grant{err: err}
		return false
	}
	w.done <- grant{conn: c}
	return true
}

// leaveLine ends a wait in vain. What was granted meanwhile goes to the next.
func (u *upstream) leaveLine(w *place) {
	u.mu.Lock()
	if i := slices.Index(u.waiting, w); i >= 0 {
		u.waiting = slices.Delete(u.waiting, i, i+1)
		u.queued.Add(-1)
		u.pending--
		u.mu.Unlock()
		return
	}
	u.mu.Unlock()
	switch got := <-w.done; {
	case got.conn != nil:
		u.put(got.conn)
	case got.err == nil:
		u.mu.Lock()
		u.pending--
		u.mu.Unlock()
		u.gone(u.target(w.key.addr))
	}
}

// limited is told of other limits: who waits may be let on, and what lies in lanes, where
// it is nobody else's, ends. It may close connections, which takes time.
func (u *upstream) limited() {
	u.freed()
	if !u.latest().Limits.Wait() {
		return
	}
	for _, ln := range u.server.lanes {
		ln.loop.Post(func() { ln.expireIdle(ln.loop.Now(), false) })
	}
}

// mayRetry counts a retry, unless there are too many of this cluster's at once. It is
// over with retryEnded.
func (u *upstream) mayRetry() bool {
	n, most := u.retries.Add(1), u.latest().Limits.Retries
	if most > 0 && n > int64(most) {
		u.retries.Add(-1)
		return false
	}
	return true
}

func (u *upstream) retryEnded() { u.retries.Add(-1) }
