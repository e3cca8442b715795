package loop

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/nowait"
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
		n, errno := nowait.Events(int(fd), p.events[:])
		if p.ready, p.err = n, nil; errno != 0 {
			p.ready, p.err = 0, errno
		}
		return p.ready > 0 || p.err != nil
	}
	return p, nil
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

// stage is how far a turn has come.
type stage uint8

const (
	waiting stage = iota
	hearing       // sockets that are to be heard first
	telling       // the others
	expiring
	posting
)

// Run serves until Close, or until a handler hands the loop over: another goroutine
// has it then.
func (l *Loop) Run() {
	left := false
	l.left = &left
	for !left {
		switch l.stage {
		case waiting:
			l.turn = l.poll.wait(l.now.UnixNano(), l.timers.first())
			l.now = time.Now()
			l.stage = hearing
		case hearing:
			l.hear()
			l.stage = telling
		case telling:
			if len(l.turn) == 0 {
				l.stage = expiring
				continue
			}
			e := l.turn[0]
			l.turn = l.turn[1:]
			if e.Events != 0 {
				l.tell(&e)
			}
		case expiring:
			if t := l.timers.due(l.now.UnixNano()); t != nil {
				expired(t.owner)
				continue
			}
			l.takePosted()
			l.stage = posting
		case posting:
			if len(l.taken) > 0 {
				f := l.taken[0]
				l.taken = l.taken[1:]
				f()
				continue
			}
			if l.ended {
				l.release()
				close(l.done)
				return
			}
			l.stage = waiting
		}
	}
}

// HandOver is called by a handler, a timer's owner or something posted that is about
// to wait: another goroutine goes on with the loop, and the caller's is its own from
// here on. It must not touch the loop any more, nor anything that is the loop's.
func (l *Loop) HandOver() {
	*l.left = true
	go l.Run()
}

// hear tells those that are to be heard first. None of them may hand the loop over.
func (l *Loop) hear() {
	for i := range l.turn {
		if e := &l.turn[i]; int(e.Fd) == l.wake {
			l.quietWake()
			e.Events = 0
		} else if l.slots[e.Fd].first {
			l.tell(e)
			e.Events = 0
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

// takePosted takes what was posted. Once the loop is closed that is the last.
func (l *Loop) takePosted() {
	l.mu.Lock()
	l.taken, l.ended = l.posted, l.closed
	l.posted = nil
	l.mu.Unlock()
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
