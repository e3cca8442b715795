package relay

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/nowait"
)

// loop is one goroutine with an epoll instance of its own. The pairs of a loop
// are moved by that goroutine only; others may begin and cut them, under the
// pair's lock.
//
// It waits in Go's netpoller, which accepts an epoll instance like any other
// descriptor, and not in a thread of its own: a processor that is held by a
// waiting thread has to be taken back by the scheduler's monitor, which then looks
// every 20 µs.
type loop struct {
	engine *Engine
	epoll  int
	file   *os.File // the same, as the netpoller knows it
	wait   syscall.RawConn
	pairs  table
	turns  atomic.Int64

	// What follows belongs to the goroutine.
	events  []unix.EpollEvent
	scratch []byte        // a message on its way from one socket to the other
	free    []*pipe       // empty pipes
	again   []*Pair       // pairs that had moved enough for one turn
	now     time.Duration // the clock at the beginning of the turn
}

const (
	// scratchSize is what one read takes at the most: a read that fills it is the
	// beginning of bulk.
	scratchSize = 64 << 10
	eventsSize  = 256 // events of one turn
)

func newLoop(e *Engine) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	unix.SetNonblock(epoll, true) // tells os.NewFile that the netpoller may have it
	l := &loop{engine: e, epoll: epoll, file: os.NewFile(uintptr(epoll), "epoll"),
		scratch: make([]byte, scratchSize), events: make([]unix.EpollEvent, eventsSize)}
	if err := l.file.SetReadDeadline(time.Time{}); err != nil {
		l.file.Close()
		return nil, fmt.Errorf("wait for an epoll instance: %w", err)
	}
	l.wait, err = l.file.SyscallConn()
	return l, err
}

// watch asks for a socket's events, each once when it begins (EPOLLET).
func (l *loop) watch(fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}))
}

func (l *loop) unwatch(fd int) {
	unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, fd, nil)
}

// run moves bytes until stop.
func (l *loop) run() {
	n := 0
	poll := func(uintptr) bool {
		n, _ = nowait.Events(l.epoll, l.events)
		return n > 0 || len(l.again) > 0
	}
	for {
		if err := l.wait.Read(poll); err != nil {
			return // stop
		}
		l.turns.Add(1)
		l.now = clock()
		again := l.again
		l.again = nil
		for _, e := range l.events[:n] {
			if p := l.pairs.get(int(e.Fd)); p != nil {
				p.event(int(e.Fd), e.Events)
			}
		}
		for _, p := range again {
			p.resume()
		}
	}
}

// stop ends run.
func (l *loop) stop() { l.file.SetReadDeadline(time.Unix(1, 0)) }

// release closes what the loop holds, after run.
func (l *loop) release() {
	for _, p := range l.free {
		l.engine.discard(p)
	}
	l.file.Close()
}

var begun = time.Now()

// clock is the time since the process began, as the monotonic clock tells it.
func clock() time.Duration { return time.Since(begun) }
