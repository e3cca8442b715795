package proxy

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// accept hands each connection to a goroutine of its own until the listener closes.
func (s *Server) accept(l *net.TCPListener) error {
	spare := openSpare()
	defer func() { spare.Close() }()
	for {
		tcp, err := l.AcceptTCP()
		switch {
		case err == nil:
			s.start(tcp)
		case errors.Is(err, net.ErrClosed):
			return nil
		case noneLeft(err):
			spare.Close() // makes room for one connection, which is told so
			turned := s.turnAwayNext(l)
			spare = openSpare()
			s.sayOverload(noDescriptors.Error())
			if !turned {
				s.awaitDescriptor()
			}
		case isTemporary(err):
			s.awaitDescriptor() // memory ran out: let some be freed
		default:
			return err
		}
	}
}

// openSpare holds a descriptor for the time when there is no other: without it a
// connection could not even be refused, and its client would wait. nil is none.
func openSpare() *os.File {
	f, err := os.Open(os.DevNull)
	if err != nil {
		return nil
	}
	return f
}

// turnAwayNext takes the next waiting connection and refuses it. It reports false
// where none waits, or somebody else took the descriptor.
func (s *Server) turnAwayNext(l *net.TCPListener) bool {
	raw, err := l.SyscallConn()
	if err != nil {
		return false
	}
	fd := -1
	raw.Control(func(listener uintptr) {
		fd, _, err = unix.Accept4(int(listener), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	})
	if err != nil || fd < 0 {
		return false
	}
	refuseRaw(fd)
	return true
}

// refuseRaw answers a request that is there already, and resets everything else.
func refuseRaw(fd int) {
	var b [1 << 10]byte
	if n, err := unix.Read(fd, b[:]); err == nil && n > 0 && sniff(b[:n]) == isHTTP1 {
		unix.Write(fd, overflowBytes())
		unix.Close(fd)
		return
	}
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(fd)
}

// starvedFor bounds the wait for a descriptor of ours: others may free some too.
const starvedFor = 20 * time.Millisecond

// awaitDescriptor waits until a connection has ended, or a little while.
func (s *Server) awaitDescriptor() {
	late := time.NewTimer(starvedFor)
	defer late.Stop()
	select {
	case <-s.freed:
	case <-late.C:
	}
}

// tellFreed wakes a listener that waits for a descriptor.
func (s *Server) tellFreed() {
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

func (s *Server) sayOverload(what string) {
	s.observe(Event{Kind: Refused, Refusal: Overloaded})
	s.notices.say(noticeKey{string(Overloaded), what, 0}, func() notice {
		text := refusalTexts[Overloaded]
		return notice{level: slog.LevelWarn, message: text.message, about: []any{"reason", string(Overloaded),
			"namespace", s.cfg.Workload.Namespace, "details", what}}
	})
}
