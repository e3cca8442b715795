package proxy

import (
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/loop"
)

// laneUpstream is an upstream connection in a lane: carrying an exchange, or idle.
type laneUpstream struct {
	*upstreamConn
	lane     *lane
	sock     sock
	user     *laneConn // whose exchange it carries; nil: idle
	readable bool
	over     bool // there is an end to read, after what bytes there are
}

// lanePool holds a lane's idle connections to one upstream, which is among
// lane.upstreams while the map is not nil.
type lanePool struct {
	idle map[poolKey][]*laneUpstream
}

// Ready implements loop.Handler.
func (up *laneUpstream) Ready(r loop.Readiness) {
	if r&(loop.Readable|loop.Ended) != 0 {
		up.readable = true
	}
	up.over = up.over || r&loop.Ended != 0
	if up.under != nil && r&loop.Writable != 0 {
		up.under.flush()
	}
	switch {
	case up.user != nil:
		up.user.news(r)
	case up.readable && !up.silent(): // closed, or bytes that nobody asked for: of no use
		up.lane.discard(up)
	}
}

// Fault implements loop.Handler.
func (up *laneUpstream) Fault(fault any) {
	if up.user != nil {
		up.user.Fault(fault)
		return
	}
	up.lane.server.log.Error("an idle upstream connection failed inside the proxy", "fault", fault, "stack", stack())
	up.lane.discard(up)
}

// read takes bytes from the socket, without asking when there is nothing to take.
func (up *laneUpstream) read(b []byte) (int, error) {
	if !up.readable {
		return 0, unix.EAGAIN
	}
	n, err := loop.Read(up.sock.fd, b)
	if err == unix.EAGAIN || err == nil && n < len(b) && !up.over {
		up.readable = false // a short count: what comes later, the end too, is told anew
	}
	return n, err
}

// plainRead is read as an io.Reader, for a connection without TLS.
type plainRead laneUpstream

func (r *plainRead) Read(b []byte) (int, error) { return (*laneUpstream)(r).read(b) }

// fill reads once.
func (up *laneUpstream) fill() error {
	var err error
	if up.under != nil {
		err = up.in.fill(up.Conn)
	} else {
		err = up.in.fill((*plainRead)(up))
	}
	if err == errBufferFull {
		return tooLarge
	}
	return err
}

// more says that fill may find something.
func (up *laneUpstream) more() bool { return up.readable || up.under != nil }

func (up *laneUpstream) write(b []byte) (int, error) {
	if up.under != nil {
		return up.Conn.Write(b)
	}
	return loop.Write(up.sock.fd, b)
}

// silent reports whether a readable idle connection holds nothing for us: only TLS
// has something to say meanwhile, such as a ticket for later sessions.
func (up *laneUpstream) silent() bool {
	if up.under == nil {
		return !up.readable
	}
	var b [1]byte
	n, err := up.Conn.Read(b[:])
	return n == 0 && err == unix.EAGAIN
}

// take finds an idle connection for a request: the lane's own, else one that a
// goroutine left behind. nil is none, or no address without waiting.
func (ln *lane) take(h *httpConn) *laneUpstream {
	if h.tries.choose(noWait) != nil {
		return nil
	}
	u, key := h.via, h.tries.key
	pool := &u.lanes[ln.number]
	for idle := pool.idle[key]; len(idle) > 0; idle = pool.idle[key] {
		up := idle[len(idle)-1]
		idle[len(idle)-1] = nil
		pool.idle[key] = idle[:len(idle)-1]
		u.lying.Add(-1)
		if !up.expired(ln.loop.Now()) && (h.idempotent() || up.open()) {
			up.use()
			up.reused = true
			ln.loop.HearFirst(up.sock.fd, false)
			return up
		}
		ln.close(up)
	}
	return ln.fetch(u, key)
}

// open asks the kernel whether an idle connection is still one. Events tell the
// same a moment later, which is soon enough for requests that may be sent twice.
func (up *laneUpstream) open() bool {
	_, errno := peek(uintptr(up.sock.fd))
	return errno == unix.EAGAIN
}

// fetch moves an idle connection from where goroutines keep them into the lane.
func (ln *lane) fetch(u *upstream, key poolKey) *laneUpstream {
	c := u.take(key)
	if c == nil {
		return nil
	}
	fd, err := loop.Detach(c.tcp)
	if err != nil { // no descriptor to spare
		if c.rest(); !u.keep(c) {
			c.close()
		}
		return nil
	}
	up := &laneUpstream{upstreamConn: c, lane: ln, sock: sock{fd}}
	if c.under != nil {
		c.under.enter(up)
	}
	if err := ln.loop.Add(fd, up); err != nil {
		ln.close(up)
		return nil
	}
	return up
}

// put keeps a connection for another request.
func (ln *lane) put(up *laneUpstream) {
	up.rest()
	up.in.release()
	up.since = ln.loop.Now()
	u := up.up
	if !up.silent() || u.left.Load() || up.spent() || up.old(up.since) || u.latest().Limits.Wait() {
		ln.close(up)
		return
	}
	pool := &u.lanes[ln.number]
	if pool.idle == nil {
		pool.idle = map[poolKey][]*laneUpstream{}
		ln.upstreams[u] = struct{}{}
		ln.sweepBy(up.since.Add(sweepEvery))
	}
	pool.idle[up.key] = append(pool.idle[up.key], up)
	u.lying.Add(1)
	ln.loop.HearFirst(up.sock.fd, true)
	ln.sweepBy(u.ends(up.since, up.born))
}

// discard takes a connection out of its pool and closes it.
func (ln *lane) discard(up *laneUpstream) {
	pool := &up.up.lanes[ln.number]
	idle := pool.idle[up.key]
	if i := slices.Index(idle, up); i >= 0 {
		idle = slices.Delete(idle, i, i+1)
		up.up.lying.Add(-1)
	}
	if len(idle) == 0 {
		delete(pool.idle, up.key)
	} else {
		pool.idle[up.key] = idle
	}
	ln.close(up)
}

// close ends a connection; TLS says goodbye first, without waiting.
func (ln *lane) close(up *laneUpstream) {
	if up.under != nil {
		up.Conn.Close()
	}
	ln.loop.CloseSocket(up.sock.fd)
	up.user = nil
	up.in.release()
	up.upstreamConn.ended()
}

// abandon closes a connection that has left its loop and that nobody will use; nil
// is none.
func (up *laneUpstream) abandon() {
	if up == nil {
		return
	}
	unix.Close(up.sock.fd)
	up.in.release()
	up.upstreamConn.ended()
}

// expireIdle closes the idle connections of upstreams that have left the
// configuration, and those that were idle for too long; or all. It says when the next
// has to go, the zero time is never.
func (ln *lane) expireIdle(now time.Time, all bool) (next time.Time) {
	for u := range ln.upstreams {
		pool := &u.lanes[ln.number]
		gone := all || u.left.Load() || u.latest().Limits.Wait()
		for key, idle := range pool.idle {
			if len(idle) == 0 { // all are in use
				delete(pool.idle, key)
			}
			for _, up := range slices.Clone(idle) {
				if gone || up.expired(now) {
					ln.discard(up)
				} else if at := u.ends(up.since, up.born); next.IsZero() || at.Before(next) && !at.IsZero() {
					next = at
				}
			}
		}
		if len(pool.idle) == 0 {
			pool.idle = nil
			delete(ln.upstreams, u)
		}
	}
	return next
}

// dropAll closes every idle connection, at the server's end.
func (ln *lane) dropAll() {
	ln.loop.Stop(&ln.sweep)
	ln.expireIdle(ln.loop.Now(), true)
}

// attach makes c a connection that a goroutine can wait on again.
func (c *upstreamConn) attach(tcp *net.TCPConn) error {
	c.tcp = tcp
	if c.under == nil {
		c.Conn = tcp
	} else if err := c.under.leave(tcp, c.up.server.cfg.StreamIdleTimeout); err != nil {
		return err
	}
	c.read.rebind(tcp.SetReadDeadline)
	c.write.rebind(tcp.SetWriteDeadline)
	var err error
	c.raw, err = tcp.SyscallConn()
	return err
}
