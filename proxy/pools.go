package proxy

import (
	"context"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// pools finds the live side of clusters across snapshots.
type pools struct {
	server  *Server
	readers sync.WaitGroup // of HTTP/2 connections

	expiries expiries
	crowd    idleCrowd

	sweeping *chore

	mu     sync.Mutex
	newest *state // nil before the first
	byKey  map[clusterKey]*upstream
}

// clusterKey is what makes a cluster of one snapshot the same as one of another.
type clusterKey struct {
	name        string
	fingerprint uint64
	namespace   string // of the workload, whose credentials its connections are made with
}

func keyOf(c *mesh.Cluster, namespace string) clusterKey {
	return clusterKey{c.Name, c.Fingerprint, namespace}
}

// A sweep looks for idle connections past their time, and for clusters that the
// newest configuration no longer leads to: for so long, since requests that began
// earlier may still want them.
const (
	sweepEvery = 10 * time.Second
	leftFor    = 30 * time.Second
)

func newPools(s *Server) *pools {
	p := &pools{server: s, byKey: map[clusterKey]*upstream{}}
	p.sweeping = newChore(p.sweep)
	p.expiries.sweeping = p.sweeping
	p.crowd.thinning = newChore(p.thin)
	return p
}

// get returns the upstream of a cluster, the one of earlier snapshots where the
// settings are the same.
func (p *pools) get(c *mesh.Cluster, generation uint64, namespace string) *upstream {
	key := keyOf(c, namespace)
	p.mu.Lock()
	u := p.byKey[key]
	if u == nil {
		u = &upstream{server: p.server, cluster: c, lanes: make([]lanePool, len(p.server.lanes))}
		u.tls.settings, u.tls.store, u.tls.namespace = c.TLS, p.server.cfg.Credentials, namespace
		if len(p.byKey) == 0 {
			p.sweeping.ring()
		}
		p.byKey[key] = u
	}
	limited := u.follow(c, generation)
	p.mu.Unlock()
	if limited {
		u.limited()
	}
	return u
}

// follow notes how the newest configuration that leads to the upstream wants it used, and
// says whether that has other limits: the caller, who holds pools.mu, calls limited when
// it has let go of that.
func (u *upstream) follow(c *mesh.Cluster, generation uint64) (limited bool) {
	if generation < u.ledBy {
		return false
	}
	u.ledBy = generation
	was := u.newest.Swap(c)
	return was != nil && was.Limits != c.Limits
}

// follow makes a view the newest. Pools may go that it does not lead to.
func (p *pools) follow(view *mesh.View, namespace string) *state {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := &state{view: view, pools: p, generation: 1, namespace: namespace}
	if p.newest != nil {
		st.generation += p.newest.generation
	}
	p.newest = st
	return st
}

// sweep runs while there are upstreams.
func (p *pools) sweep(ctx context.Context, c *chore) {
	due, soon := time.NewTimer(sweepEvery), time.NewTimer(sweepEvery)
	defer due.Stop()
	defer soon.Stop()
	for more := true; more || !c.rests(); {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
			if !more {
				more = true
				due.Reset(sweepEvery)
			}
			p.expireDue(time.Now(), soon)
		case now := <-due.C:
			if more = p.sweepOnce(now); more {
				due.Reset(sweepEvery)
			}
		case now := <-soon.C:
			p.expireDue(now, soon)
		}
	}
}

// sweepOnce says whether there is anything to look at later.
func (p *pools) sweepOnce(now time.Time) (more bool) {
	newest, led := p.led()
	var limited, retired, kept []*upstream
	p.mu.Lock()
	for key, u := range p.byKey {
		if c := led[key]; c != nil && u.follow(c, newest) {
			limited = append(limited, u)
		}
		switch {
		case u.ledBy >= newest:
			u.leftAt = time.Time{}
			kept = append(kept, u)
		case u.leftAt.IsZero():
			u.leftAt = now
		case now.Sub(u.leftAt) > leftFor:
			delete(p.byKey, key)
			retired = append(retired, u)
		}
	}
	more = len(p.byKey) > 0
	p.mu.Unlock()
	for _, u := range limited {
		u.limited()
	}
	for _, u := range retired {
		u.retire()
	}
	for _, u := range kept {
		u.expire(now)
		u.expireHTTP2(now)
		u.forgetTargets(now)
	}
	return more
}

// led says to which pools the newest configuration leads, of those about which that is
// not known by its generation. It asks the configuration without p.mu, for which requests
// wait.
func (p *pools) led() (generation uint64, led map[clusterKey]*mesh.Cluster) {
	p.mu.Lock()
	newest := p.newest
	if newest == nil {
		p.mu.Unlock()
		return 0, nil
	}
	var asked []*mesh.Cluster
	for _, u := range p.byKey {
		if u.ledBy < newest.generation {
			asked = append(asked, u.cluster)
		}
	}
	p.mu.Unlock()
	led = make(map[clusterKey]*mesh.Cluster, len(asked))
	for _, c := range asked {
		if c != passthrough {
			led[keyOf(c, newest.namespace)] = newest.view.Now(c)
		} else if newest.view.Passes() {
			led[keyOf(c, newest.namespace)] = c
		}
	}
	return newest.generation, led
}

// expire closes the connections that were idle for too long or that the peer
// has closed.
func (u *upstream) expire(now time.Time) {
	var old []*upstreamConn
	var next time.Time
	u.mu.Lock()
	for key, conns := range u.idle {
		live := conns[:0]
		for _, c := range conns {
			if c.expired(now) || !c.open() {
				old = append(old, c)
				continue
			}
			live = append(live, c)
			if at := u.ends(c.since, c.born); next.IsZero() || at.Before(next) && !at.IsZero() {
				next = at
			}
		}
		clear(conns[len(live):])
		if len(live) == 0 {
			delete(u.idle, key)
		} else {
			u.idle[key] = live
		}
	}
	u.mu.Unlock()
	closeAll(old)
	u.expireAt(next)
}

// close retires everything.
func (p *pools) close() {
	p.mu.Lock()
	all := p.byKey
	p.byKey = map[clusterKey]*upstream{}
	p.mu.Unlock()
	for _, u := range all {
		u.retire()
	}
	p.readers.Wait()
}
