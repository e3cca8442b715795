// Package loop serves many sockets from one goroutine with an epoll of its own, so
// that a ready socket costs one system call for the bytes and none for finding a
// goroutine to wake. It holds what small exchanges need: readiness, timers, and
// work posted by others.
//
// It reads and writes nothing by itself, closes no socket it was not told to, and
// is no place for anything that waits: a handler that blocks stops every other.
//
//	l, err := loop.New()
//	go l.Run()
//	l.Post(func() { l.Add(fd, handler) })
//	l.Close()
package loop

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/nowait"
)

// Handler is a socket's owner. Its methods run in the loop's goroutine.
type Handler interface {
	// Ready says what the socket has become ready for. It is told once for each
	// change: what was not read or written to EAGAIN (or to a short count) is not
	// told again.
	Ready(Readiness)
	// Fault receives what Ready or a timer panicked with.
	Fault(any)
}

// Readiness is a set of what a socket is ready for.
type Readiness uint32

// The members of Readiness.
const (
	Readable Readiness = unix.EPOLLIN
	Writable Readiness = unix.EPOLLOUT
	// Ended says that the other side has closed or reset its direction; what it
	// sent before can still be read.
	Ended Readiness = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	// Reset, a part of Ended, says that nothing can be sent to the other side either.
	Reset Readiness = unix.EPOLLHUP | unix.EPOLLERR
)

// Loop is one epoll and the goroutine in Run, or the one that it handed the loop to.
// Only Post and Close may be called from elsewhere.
type Loop struct {
	poll   *poller
	wake   int
	slots  []slot // by descriptor
	timers timers
	now    time.Time
	stage  stage
	turn   []unix.EpollEvent // what is left of the turn under way
	taken  []func()          // and of what was posted before its end
	ended  bool              // nothing is posted after that
	left   *bool             // set when the goroutine that runs the loop has handed it over

	mu     sync.Mutex
	posted []func()
	closed bool
	done   chan struct{}
}

// slot is who owns a descriptor. The number tells an event for an earlier owner of
// the same descriptor, closed within the same turn, from one for this one.
type slot struct {
	handler Handler
	number  int32
	first   bool
}

// New makes a loop that does nothing until Run.
func New() (*Loop, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		poll.file.Close()
		return nil, os.NewSyscallError("create an eventfd", err)
	}
	l := &Loop{poll: poll, wake: wake, now: time.Now(), done: make(chan struct{}), slots: make([]slot, wake+64)}
	if err := poll.control(unix.EPOLL_CTL_ADD, wake, unix.EPOLLIN|unix.EPOLLET, 0); err != nil {
		l.release()
		return nil, fmt.Errorf("watch an eventfd: %w", err)
	}
	return l, nil
}

func (l *Loop) release() {
	unix.Close(l.wake)
	l.poll.file.Close()
}

// Add watches fd, a non-blocking socket, for all that Readiness knows.
func (l *Loop) Add(fd int, h Handler) error {
	return l.watch(fd, h, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET)
}

func (l *Loop) watch(fd int, h Handler, events uint32) error {
	for fd >= len(l.slots) {
		l.slots = append(l.slots, make([]slot, max(64, len(l.slots)))...)
	}
	s := &l.slots[fd]
	s.number++
	if err := l.poll.control(unix.EPOLL_CTL_ADD, fd, events, s.number); err != nil {
		return fmt.Errorf("watch a socket: %w", err)
	}
	s.handler = h
	return nil
}

// AddListener watches fd, a listening socket: its owner is told in each turn that
// something waits there.
func (l *Loop) AddListener(fd int, h Handler) error {
	return l.watch(fd, h, unix.EPOLLIN)
}

// HearFirst says whether news of fd are told before those of other sockets of the
// same turn: for connections that lie ready for others to use, which must know
// that one has ended before they do.
func (l *Loop) HearFirst(fd int, first bool) { l.slots[fd].first = first }

// Remove stops watching fd, which stays open.
func (l *Loop) Remove(fd int) {
	l.slots[fd].handler, l.slots[fd].first = nil, false
	l.poll.control(unix.EPOLL_CTL_DEL, fd, 0, 0)
}

// CloseSocket stops watching fd, if that is watched, and closes it. Nobody else may
// hold a duplicate.
func (l *Loop) CloseSocket(fd int) {
	if fd < len(l.slots) {
		l.slots[fd].handler, l.slots[fd].first = nil, false
	}
	nowait.Close(fd) // which takes it out of the epoll
}

// Now is when the turn under way began: near enough for time limits.
func (l *Loop) Now() time.Time { return l.now }

// Post has f run in the loop. It reports false, and f never runs, once the loop is
// closed.
func (l *Loop) Post(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.posted = append(l.posted, f); len(l.posted) == 1 {
		l.ring()
	}
	return true
}

var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

// ring ends the wait under way. It is called with mu held, under which the loop
// decides to end: so wake is still ours.
func (l *Loop) ring() { unix.Write(l.wake, one) }

// Close ends Run after everything that was posted before has run, and waits for
// it. The sockets stay open; it is the handlers' part to close them first.
func (l *Loop) Close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		l.ring()
	}
	l.mu.Unlock()
	<-l.done
}
