package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/proxy/nowait"
	"github.com/sluice-cni/sluice/proxy/relay"
)

// carriage is a connection's opaque bytes under way.
type carriage struct {
	entry *entry                     // where they go: what stood in it before they did
	pair  atomic.Pointer[relay.Pair] // nil unless the relay engine has them
}

func (ca *carriage) cut() {
	if pair := ca.pair.Load(); pair != nil {
		pair.Cut()
	}
}

// tunnel moves bytes both ways. The end of one direction is passed on as such
// (half-close), a reset as a reset. Two plain TCP connections are the relay
// engine's from here on, and this returns at once.
func (c *connection) tunnel(up *upstreamConn, e *entry) {
	if e.protocol != "http" {
		c.server.opened(e)
	}
	c.carriage.Store(&carriage{entry: e})
	if (up.tcp == nil || up.Conn == net.Conn(up.tcp)) && c.handOver(up, e) {
		return
	}
	if err := errors.Join(c.bePolled(), up.bePolled()); err != nil {
		up.close()
		e.fail(noDescriptors)
		c.abort()
		c.server.record(e)
		return
	}
	defer up.close()
	c.upstream.Store(up.tcp)
	defer c.upstream.Store(nil)
	var there, back error
	var both sync.WaitGroup
	idle := idleness{limit: c.server.patience.tunnel}
	if e.protocol != "http" {
		defer up.bound(&idle, c)()
	}
	idle.moved()
	both.Go(func() {
		defer c.contain()
		if e.received, there = idle.pump(up.Conn, c.tcp, &c.in); there != nil {
			cut(up.tcp, c.tcp)
		}
	})
	if e.sent, back = idle.pump(c.tcp, up.Conn, &up.in); back != nil {
		cut(up.tcp, c.tcp)
	}
	both.Wait()
	switch {
	case idle.old.Load():
		e.tooOld()
	case there == errIdle || back == errIdle:
		e.details = "tcp_session_idle_timeout"
	case isReset(there):
		e.flags = "DC"
	case there != nil || back != nil:
		e.flags = "UC"
	}
	c.server.record(e)
}

// handOver gives both sockets to the relay engine. It reports false, and nothing
// has changed, where that is not possible: no descriptor may be left.
func (c *connection) handOver(up *upstreamConn, e *entry) bool {
	client, err := ownSocket(c.tcp, c.fd)
	if err != nil {
		return false
	}
	server, err := ownSocket(up.tcp, up.fd)
	if err != nil {
		disown(c.tcp, client)
		return false
	}
	done := func(r relay.Result) { c.carried(up, e, r) }
	own, ownUp := c.fd, up.fd
	c.handed, c.fd, up.fd = true, -1, -1 // nobody else may close them from now on
	pair, err := c.server.relay.Carry(relay.Side{FD: client, Ahead: c.in.bytes()}, relay.Side{FD: server, Ahead: up.in.bytes()}, done)
	if err != nil {
		c.handed, c.fd, up.fd = false, own, ownUp
		disown(c.tcp, client)
		disown(up.tcp, server)
		return false
	}
	c.carriage.Load().pair.Store(pair)
	if e.protocol != "http" {
		s := up.up.latest()
		pair.Bound(relay.Bounds{Idle: s.TCPIdle, Age: s.MaxAge})
	}
	if c.tcp != nil {
		c.tcp.Close()
	}
	if up.tcp != nil {
		up.tcp.Close()
	}
	c.in.release()
	up.in.release()
	if c.server.life.Err() != nil { // cut meanwhile, before there was a pair to find
		pair.Cut()
	}
	return true
}

// ownSocket is a descriptor that Go does not poll: fd, where tcp is nil.
func ownSocket(tcp *net.TCPConn, fd int) (int, error) {
	if tcp == nil {
		return fd, nil
	}
	return nowait.Dup(tcp)
}

// disown undoes ownSocket.
func disown(tcp *net.TCPConn, fd int) {
	if tcp != nil {
		nowait.Close(fd)
	}
}

// carried is called by the relay engine when both connections have ended.
func (c *connection) carried(up *upstreamConn, e *entry, r relay.Result) {
	defer c.server.forget(c)
	defer c.contain()
	up.ended()
	e.hurried = true
	e.received, e.sent = r.Moved[0], r.Moved[1]
	switch r.End {
	case relay.AFailed:
		e.flags = "DC"
	case relay.BFailed, relay.WasCut:
		e.flags = "UC"
	case relay.TooOld:
		e.tooOld()
	case relay.IdleTimeout:
		e.details = "tcp_session_idle_timeout"
	}
	c.server.record(e)
}

// errIdle is a tunnel over which nothing has moved for too long.
var errIdle = errors.New("nothing moved for too long")

// idleness is what the directions of a tunnel know of each other: when a byte last
// moved. Nothing else would end one whose server has vanished without a word.
type idleness struct {
	limit time.Duration
	last  atomic.Int64 // Unix nanoseconds
	old   atomic.Bool  // the tunnel was cut for its age
}

// bound makes the limit of an opaque connection its cluster's, and cuts it when it is
// too old, unless it is stopped before.
func (up *upstreamConn) bound(idle *idleness, c *connection) (stop func()) {
	s := up.up.latest()
	switch {
	case s.TCPIdle > 0:
		idle.limit = s.TCPIdle
	case s.TCPIdle < 0:
		idle.limit = forever
	}
	if s.MaxAge == 0 {
		return func() {}
	}
	timer := time.AfterFunc(s.MaxAge, func() {
		idle.old.Store(true)
		cut(up.tcp, c.tcp)
	})
	return func() { timer.Stop() }
}

// tooOld notes that a connection has lasted as long as one may.
func (e *entry) tooOld() { e.flags, e.details = "DT", "max_connection_duration_reached" }

func (i *idleness) moved() time.Time {
	now := time.Now()
	i.last.Store(now.UnixNano())
	return now
}

func (i *idleness) over(now time.Time) bool { return now.Sub(time.Unix(0, i.last.Load())) >= i.limit }

// pump copies one direction and closes its write side at the end. What was read
// ahead goes first.
func (i *idleness) pump(dst, src net.Conn, ahead *buffer) (int64, error) {
	read, write := deadline{set: src.SetReadDeadline}, deadline{set: dst.SetWriteDeadline}
	sent := int64(0)
	send := func(b []byte) error {
		write.within(time.Now(), i.limit)
		n, err := dst.Write(b)
		sent += int64(n)
		i.moved()
		if isTimeout(err) {
			return errIdle
		}
		return err
	}
	if ahead.len() > 0 {
		if err := send(ahead.bytes()); err != nil {
			return sent, err
		}
	}
	ahead.release()
	b := make([]byte, pumpSize)
	for {
		now := time.Now()
		read.within(now, i.limit)
		n, err := src.Read(b)
		if n > 0 {
			if err := send(b[:n]); err != nil {
				return sent, err
			}
		}
		switch {
		case err == nil:
		case isTimeout(err) && !i.over(time.Now()):
		case isTimeout(err):
			return sent, errIdle
		case err == io.EOF, errors.Is(err, errNoGoodbye): // as Envoy: the protocol inside knows its own end
			return sent, closeWrite(dst)
		default:
			return sent, err
		}
	}
}

// pumpSize is what a pump reads at once: two records of TLS.
const pumpSize = 32 << 10

func closeWrite(c net.Conn) error {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		if err := w.CloseWrite(); err != nil && !errors.Is(err, net.ErrClosed) && !isNotConnected(err) {
			return err
		}
	}
	return nil
}
