package proxy

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An application that has left gets no answer, and what it waited for is given up: a
// server that hangs would otherwise keep two descriptors for each client that lost
// patience. A reset tells at once that it has left. An end alone may be a half-close,
// after which an answer is still wanted; Envoy takes it for the end at once, here it
// has a little time, though none of an answer that has begun is given up for it.
const (
	lookEvery     = 5 * time.Second  // at an application whose answer keeps it waiting
	halfClosedFor = 10 * time.Second // from its end to giving its answer up
)

// patience is those two, how long nothing may move over a tunnel, and how long a client
// may be silent where an opaque protocol is possible. Tests have others.
type patience struct{ look, halfClosed, tunnel, silent time.Duration }

var errLeft = errors.New("the application left before it was answered")

// abandoned is the reply to an application that has left: none, and a line in the log.
func abandoned() *localReply {
	return &localReply{flags: "DC", details: "downstream_remote_disconnect"}
}

// closing says what the peer of a socket has done with it: ended its direction, or
// reset it.
func closing(fd int) (ended, reset bool) {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	if _, err := unix.Poll(p, 0); err != nil {
		return false, false
	}
	return p[0].Revents&unix.POLLRDHUP != 0, p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// departure watches an application for one answer.
type departure struct {
	c     *connection
	since time.Time // when its end was first seen
}

// complete says that the application has left. begun: its answer has begun.
func (d *departure) complete(now time.Time, begun bool) bool {
	raw, err := d.c.tcp.SyscallConn()
	if err != nil {
		return true
	}
	ended, reset := false, true
	raw.Control(func(fd uintptr) { ended, reset = closing(int(fd)) })
	if ended && d.since.IsZero() {
		d.since = now
	}
	return reset || !begun && ended && now.Sub(d.since) >= d.c.server.patience.halfClosed
}

// watch is a departure that is looked at while its goroutine waits for something
// that knows no deadline.
type watch struct {
	giveUp func()

	mu    sync.Mutex
	d     departure
	timer *time.Timer
	begun bool // the answer
	left  bool
	over  bool
}

// watchFor calls giveUp when the application leaves before stop.
func (c *connection) watchFor(giveUp func()) *watch {
	w := &watch{giveUp: giveUp, d: departure{c: c}}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(c.server.patience.look, w.look)
	return w
}

func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over:
	case w.d.complete(time.Now(), w.begun):
		w.left = true
		w.giveUp()
	default:
		w.timer.Reset(w.d.c.server.patience.look)
	}
}

// answered says that the answer has begun.
func (w *watch) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = true
}

// stop ends the watch and says whether the application has left.
func (w *watch) stop() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.timer.Stop()
	return w.left
}

// presence waits as whileHere does. A nil one has nobody to watch: who waits is told
// otherwise.
type presence func(ctx context.Context, wait func(context.Context)) (left bool)

// await is the wait's error: errLeft where it ended because the application left.
func (p presence) await(ctx context.Context, wait func(context.Context) error) (err error) {
	if p == nil {
		return wait(ctx)
	}
	left := p(ctx, func(ctx context.Context) { err = wait(ctx) })
	if left && err != nil {
		return errLeft
	}
	return err
}

// whileHere runs wait with a context that ends with ctx, and when the application
// leaves, which it reports: at once where the connection was reset, and in its patience
// after an end. wait must not read from the application.
func (c *connection) whileHere(ctx context.Context, wait func(context.Context)) (left bool) {
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return true
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c.deadline.at(time.Time{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		defer c.contain()
		if left = c.leaves(raw); left {
			stop()
		}
	}()
	wait(ctx)
	c.deadline.wake()
	<-watched
	c.deadline.resume()
	return left
}

// leaves waits until the application has left, or until its deadline is woken.
func (c *connection) leaves(raw syscall.RawConn) bool {
	ended, reset := false, false
	err := raw.Read(func(fd uintptr) bool {
		ended, reset = closing(int(fd))
		return ended || reset
	})
	if err != nil || reset {
		return reset
	}
	c.deadline.at(time.Now().Add(c.server.patience.halfClosed))
	err = raw.Read(func(fd uintptr) bool {
		_, reset = closing(int(fd))
		return reset
	})
	return reset || isTimeout(err) && !c.deadline.isWoken()
}
