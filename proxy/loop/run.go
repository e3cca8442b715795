package loop

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is the epoll as something that the runtime can wait for. A goroutine that
// blocks in epoll_wait itself would keep its processor from all others until the
// runtime notices, which takes up to ten milliseconds.
type poller struct {
	file   *os.File
	raw    syscall.RawConn
	look   func(uintptr) bool // what raw runs until it says true
	events [128]unix.EpollEvent
	ready  int // events of the turn under way
	err    error
	alarm  int64 // until when the file waits, in Unix nanoseconds; 0: for ever
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("create an epoll", err)
	}
	unix.SetNonblock(fd, true) // os.NewFile takes it for something to poll by this
	p := &poller{file: os.NewFile(uintptr(fd), "epoll")}
	if err = p.file.SetReadDeadline(time.Time{}); err == nil { // it can be polled
		p.raw, err = p.file.SyscallConn()
	}
	if err != nil {
		p.file.Close()
		return nil, fmt.Errorf("let the runtime wait for an epoll: %w", err)
	}
	p.look = func(fd uintptr) bool {
		p.ready, p.err = epollLook(int(fd), p.events[:])
		return p.ready > 0 || p.err != nil
	}
	return p, nil
}

// epollLook takes what is ready, without waiting and without telling the scheduler.
func epollLook(fd int, events []unix.EpollEvent) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

func (p *poller) control(op, fd int, events uint32, number int32) (err error) {
	ctlErr := p.raw.Control(func(epoll uintptr) {
		err = unix.EpollCtl(int(epoll), op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: number})
	})
	return errors.Join(ctlErr, err)
}

// wait returns what is ready, none when the time until has come (0: never).
func (p *poller) wait(now, until int64) []unix.EpollEvent {
	if late := p.alarm != 0 && p.alarm <= now; late || until != 0 && (p.alarm == 0 || until < p.alarm) {
		p.alarm = until
		at := time.Time{}
		if until != 0 {
			at = time.Unix(0, until)
		}
		p.file.SetReadDeadline(at)
	}
	p.ready = 0
	err := p.raw.Read(p.look)
	if err == nil {
		err = p.err
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		panic("wait for events: " + err.Error()) // the epoll itself is gone: a fault of ours
	}
	return p.events[:p.ready]
}

// Run serves until Close.
func (l *Loop) Run() {
	defer close(l.done)
	defer l.release()
	for {
		turn := l.poll.wait(l.now.UnixNano(), l.timers.first())
		l.now = time.Now()
		for i := range turn {
			if e := &turn[i]; int(e.Fd) == l.wake {
				l.quietWake()
				e.Events = 0
			} else if l.slots[e.Fd].first {
				l.tell(e)
				e.Events = 0
			}
		}
		for i := range turn {
			if e := &turn[i]; e.Events != 0 {
				l.tell(e)
			}
		}
		l.expire()
		if !l.runPosted() {
			return
		}
	}
}

// tell hands an event to the descriptor's owner, unless it was an earlier owner's.
func (l *Loop) tell(e *unix.EpollEvent) {
	if s := &l.slots[e.Fd]; s.handler != nil && s.number == e.Pad {
		ready(s.handler, Readiness(e.Events))
	}
}

func (l *Loop) quietWake() {
	var b [8]byte
	unix.Read(l.wake, b[:])
}

// runPosted says whether the loop goes on.
func (l *Loop) runPosted() bool {
	l.mu.Lock()
	posted, closed := l.posted, l.closed
	l.posted = nil
	l.mu.Unlock()
	for _, f := range posted {
		f()
	}
	return !closed
}

// ready keeps a fault in one handler from ending the others.
func ready(h Handler, r Readiness) {
	defer func() {
		if fault := recover(); fault != nil {
			h.Fault(fault)
		}
	}()
	h.Ready(r)
}
