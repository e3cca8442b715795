package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http2"
	"github.com/sluice-cni/sluice/proxy/nowait"
)

var alpnHTTP2 = []string{"h2"}

// h2Conn is an HTTP/2 connection to an endpoint.
type h2Conn struct {
	*http2.Conn
	up     *upstreamConn
	active atomic.Int32 // streams
	opened uint32       // in its life; belongs to who holds the upstream's mu
}

// h2Group is the HTTP/2 connections of one pool key. Requests share them; a new
// one is opened when none has room, one at a time.
type h2Group struct {
	conns   []*h2Conn
	dialing *h2Dial
}

// h2Dial is a connection under way that requests wait for, or that there may be room.
type h2Dial struct {
	done    chan struct{}
	err     error // read after done
	waiting int64 // for room
}

// errNoHTTP2 is a server that TLS has told us does not speak HTTP/2.
var errNoHTTP2 = errors.New("the server did not choose h2 in ALPN; declare the port HTTP if it speaks HTTP/1.1 only")

// errNoStreams is a server that can be connected to and takes nothing.
var errNoStreams = &connectError{err: errors.New("the server allows no request on its HTTP/2 connections (SETTINGS_MAX_CONCURRENT_STREAMS 0)")}

// openHTTP2 begins the request on a connection that has room. It opens one where
// there is none, or waits for one where there may be no more, until ctx ends or the
// application leaves.
func (u *upstream) openHTTP2(ctx context.Context, key poolKey, o *outgoing, here presence) (*h2Exchange, error) {
	for waits := false; ; waits = true {
		x, wait, err := u.joinHTTP2(key, o, waits)
		if x != nil {
			x.begin(o)
		}
		if wait == nil {
			return x, err
		}
		err = here.await(ctx, func(ctx context.Context) error {
			select {
			case <-wait.done:
				return wait.err
			case <-ctx.Done():
				return &connectError{err: ctx.Err()}
			}
		})
		if err != nil {
			u.mu.Lock()
			u.pending--
			u.mu.Unlock()
			return nil, err
		}
	}
}

// joinHTTP2 begins the request where there is room, else says what to wait for. waits
// says that the request is among those that wait already.
func (u *upstream) joinHTTP2(key poolKey, o *outgoing, waits bool) (x *h2Exchange, wait *h2Dial, err error) {
	var ends []*upstreamConn
	defer func() { closeAll(ends) }()
	l := &u.latest().Limits
	u.mu.Lock()
	defer u.mu.Unlock()
	if waits {
		u.pending--
	}
	g := u.h2[key]
	if x, err = u.roomIn(g, l, o); err == errNoStreams && !waits {
		err = nil // the next connection may be another matter
	}
	if x != nil || err != nil {
		return x, nil, err
	}
	if !waits && l.Pending > 0 && u.pending >= l.Pending {
		return nil, nil, poolFull
	}
	u.pending++
	if g != nil && g.dialing != nil {
		return nil, g.dialing, nil
	}
	u.queued.Add(1) // before looking: who ends a stream looks after that
	if u.slot(l, key, &ends) {
		u.queued.Add(-1)
		dial := &h2Dial{done: make(chan struct{})}
		g = u.group(key)
		g.dialing = dial
		u.server.pools.readers.Go(func() { u.dialHTTP2(key, g, dial) })
		return nil, dial, nil
	}
	if x, err = u.roomIn(g, l, o); x != nil || err != nil { // since then
		u.queued.Add(-1)
		u.pending--
		return x, nil, err
	}
	if u.roomy == nil {
		u.roomy = &h2Dial{done: make(chan struct{})}
	}
	u.roomy.waiting++
	return nil, u.roomy, nil
}

// roomIn begins the request on a connection that is there. Called with mu held.
func (u *upstream) roomIn(g *h2Group, l *mesh.Limits, o *outgoing) (*h2Exchange, error) {
	if u.full(l) {
		return nil, poolFull
	}
	if g == nil { // nothing is kept for a name until a connection is made for it
		return nil, nil
	}
	x, shut := g.open(o, l, u.retired)
	if x == nil && shut {
		return nil, errNoStreams
	}
	return x, nil
}

// group is the connections of a key. Called with mu held.
func (u *upstream) group(key poolKey) *h2Group {
	if u.h2 == nil {
		u.h2 = map[poolKey]*h2Group{}
	}
	g := u.h2[key]
	if g == nil {
		g = &h2Group{}
		u.h2[key] = g
	}
	return g
}

// tryHTTP2 begins the request where there is room; nil is where there is none.
func (u *upstream) tryHTTP2(key poolKey, o *outgoing) *h2Exchange {
	u.mu.Lock()
	defer u.mu.Unlock()
	x, _ := u.roomIn(u.h2[key], &u.latest().Limits, o)
	return x
}

// open begins the request on the first connection with room, and forgets those
// that will have none again. last has the connection end with what is on it. shut says
// that one was there whose server allows no request at all, which is of no use.
func (g *h2Group) open(o *outgoing, l *mesh.Limits, last bool) (x *h2Exchange, shut bool) {
	now := time.Now()
	for i := 0; i < len(g.conns); i++ {
		hc := g.conns[i]
		room := hc.Room()
		switch {
		case room > 0 && hc.up.old(now):
			hc.Shutdown()
			room = -1
		case room <= 0 && hc.AllowsNone():
			hc.Shutdown()
			room, shut = -1, true
		}
		if l.Streams > 0 && room > 0 {
			room = min(room, max(int(l.Streams)-int(hc.active.Load()), 0))
		}
		switch {
		case room < 0:
			g.conns = slices.Delete(g.conns, i, i+1)
			i--
		case room > 0 && !idempotent(o.method) && !hc.up.lives(): // the request could not be sent again
			g.conns = slices.Delete(g.conns, i, i+1)
			i--
		case room > 0:
			x, err := hc.open(o)
			if hc.opened++; last || l.PerConnection > 0 && hc.opened >= l.PerConnection {
				hc.Shutdown()
			}
			if err == nil {
				return x, false
			}
		}
	}
	return nil, shut
}

// dialHTTP2 opens a connection for all that wait for one, and then serves it.
func (u *upstream) dialHTTP2(key poolKey, g *h2Group, dial *h2Dial) {
	hc, err := u.connectHTTP2(key)
	u.mu.Lock()
	g.dialing, dial.err = nil, err
	if err == nil {
		g.conns = append(g.conns, hc)
		if u.retired { // and yet somebody waits for it, unless they gave up
			time.AfterFunc(leftFor, hc.Shutdown)
		}
	} else if len(g.conns) == 0 { // names that lead nowhere leave nothing behind
		delete(u.h2, key)
	}
	u.mu.Unlock()
	close(dial.done)
	if err == nil {
		u.expireAt(u.ends(time.Now(), hc.up.born))
		stop := context.AfterFunc(u.server.life, hc.Close)
		hc.Run()
		stop()
		hc.up.close()
		u.forgetHTTP2(key, hc)
	}
}

func (u *upstream) connectHTTP2(key poolKey) (*h2Conn, error) {
	up, err := u.dial(u.server.life, key, alpnHTTP2)
	if err != nil {
		return nil, err
	}
	bodies := &u.server.bodies
	cfg := http2.Config{StreamIdle: u.server.cfg.StreamIdleTimeout, Take: bodies.take, GiveBack: bodies.giveBack,
		Ping: u.latest().Ping, PingTimeout: u.latest().PingTimeout}
	if secure, ok := up.Conn.(*tls.Conn); !ok {
		cfg.Try = up.try
	} else if got := secure.ConnectionState().NegotiatedProtocol; got != "h2" {
		up.close()
		if got != "" {
			err = fmt.Errorf("%w (it chose %q)", errNoHTTP2, got)
		} else {
			err = errNoHTTP2
		}
		return nil, &connectError{err: err, tls: true}
	}
	return &h2Conn{Conn: http2.Client(up.Conn, cfg), up: up}, nil
}

// lives says that the server has not ended the connection. Its reader is told of that
// a moment later, which is soon enough for requests that may be sent twice.
func (c *upstreamConn) lives() (yes bool) {
	err := c.raw.Control(func(fd uintptr) { yes = nowait.Established(int(fd)) })
	return err == nil && yes
}

// try writes what the socket takes without waiting.
func (c *upstreamConn) try(b []byte) (int, error) { return tryWrite(c.raw.Write, b) }

func tryWrite(do func(func(uintptr) bool) error, b []byte) (n int, err error) {
	var errno unix.Errno
	failed := do(func(fd uintptr) bool {
		n, errno = nowait.Send(int(fd), b)
		return true
	})
	switch {
	case failed != nil:
		return 0, failed
	case errno == unix.EAGAIN:
		return 0, nil
	case errno != 0:
		return 0, errno
	}
	return n, nil
}

func (u *upstream) forgetHTTP2(key poolKey, hc *h2Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if g := u.h2[key]; g != nil {
		if i := slices.Index(g.conns, hc); i >= 0 {
			g.conns = slices.Delete(g.conns, i, i+1)
		}
		if len(g.conns) == 0 && g.dialing == nil {
			delete(u.h2, key)
		}
	}
}

// expireHTTP2 ends the connections that were idle for too long.
func (u *upstream) expireHTTP2(now time.Time) {
	for _, hc := range u.http2Conns() {
		idle := hc.IdleFor(now)
		at := u.ends(now.Add(-idle), hc.up.born)
		if idle == 0 { // it carries something
			at = u.ends(now.Add(forever), hc.up.born)
		}
		switch {
		case at.IsZero():
		case !now.Before(at):
			hc.Shutdown()
		default:
			u.expireAt(at)
		}
	}
}

// retireHTTP2 lets the streams under way finish, and ends the connections with them.
func (u *upstream) retireHTTP2() {
	for _, hc := range u.http2Conns() {
		hc.Shutdown()
	}
}

func (u *upstream) http2Conns() (all []*h2Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, g := range u.h2 {
		all = append(all, g.conns...)
	}
	return all
}
