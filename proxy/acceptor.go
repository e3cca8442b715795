package proxy

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/loop"
	"github.com/sluice-cni/sluice/proxy/nowait"
)

// acceptor is a listening socket that event loops accept from (decision 0015). The
// connections stay unknown to Go's netpoller until a goroutine has to wait for one.
type acceptor struct {
	server *Server
	fd     int
	closed atomic.Bool
	lanes  []*laneAcceptor

	mu    sync.RWMutex // held for reading by those that accept: none takes what spare has given up
	spare *os.File     // held for the time when there is no other descriptor
}

// laneAcceptor is an acceptor's part in one lane.
type laneAcceptor struct {
	*acceptor
	lane  *lane
	pause loop.Timer
	heard bool // the loop watches it
}

const (
	// acceptTurn is how many connections are accepted before others have their turn.
	acceptTurn = 16
	// starvedFor is the wait for a descriptor or memory: connections of ours, or of
	// others, may end meanwhile.
	starvedFor = 20 * time.Millisecond
)

// newAcceptor takes the socket out of l, which it closes.
func (s *Server) newAcceptor(l *net.TCPListener) (*acceptor, error) {
	defer l.Close()
	fd, err := nowait.Dup(l)
	if err != nil {
		return nil, err
	}
	a := &acceptor{server: s, fd: fd}
	unix.SetNonblock(a.fd, true)
	unix.SetsockoptInt(a.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // what is accepted inherits it
	a.spare = openSpare()
	return a, nil
}

// open has the lanes accept.
func (a *acceptor) open(lanes []*lane) {
	for _, ln := range lanes {
		la := &laneAcceptor{acceptor: a, lane: ln}
		a.lanes = append(a.lanes, la)
		ln.loop.Post(la.listen)
	}
}

// close ends accepting, waits until no lane does, and closes the socket.
func (a *acceptor) close() {
	a.closed.Store(true)
	var ended sync.WaitGroup
	for _, la := range a.lanes {
		ended.Add(1)
		if !la.lane.loop.Post(func() { defer ended.Done(); la.end() }) {
			ended.Done()
		}
	}
	ended.Wait()
	nowait.Close(a.fd)
	a.spare.Close()
}

// listen begins to accept, or goes on.
func (la *laneAcceptor) listen() {
	if la.closed.Load() {
		return
	}
	if err := la.lane.loop.AddListener(la.fd, la); err != nil {
		la.fail(err)
		return
	}
	la.heard = true
}

func (la *laneAcceptor) end() {
	la.lane.loop.Stop(&la.pause)
	if la.heard {
		la.lane.loop.Remove(la.fd)
		la.heard = false
	}
}

// rest stops accepting for a little while.
func (la *laneAcceptor) rest() {
	la.end()
	la.lane.loop.Set(&la.pause, la, time.Now().Add(starvedFor))
}

// fail ends the server: it cannot accept.
func (la *laneAcceptor) fail(err error) {
	la.end()
	select {
	case la.server.failed <- err:
	default: // one is enough
	}
}

// Expired implements loop.Timed.
func (la *laneAcceptor) Expired() { la.listen() }

// Fault implements loop.Handler. A connection's faults are its own.
func (la *laneAcceptor) Fault(fault any) {
	la.server.log.Error("accepting failed inside the proxy; it goes on", "fault", fault, "stack", stack())
}

// Ready implements loop.Handler.
func (la *laneAcceptor) Ready(loop.Readiness) {
	s := la.server
	for range acceptTurn {
		fd, from, errno := la.accept()
		switch {
		case errno == 0:
			if !s.start(fd, from, la.lane) {
				return // the loop is another goroutine's
			}
		case errno == unix.EAGAIN:
			return
		case noneLeft(errno):
			s.pools.crowd.press() // for those who come next
			turned := la.turnAway()
			s.sayOverload(noDescriptors.Error())
			if !turned {
				la.rest()
				return
			}
		case isTemporary(errno):
			la.rest() // memory ran out: let some be freed
			return
		default:
			la.fail(os.NewSyscallError("accept", errno))
			return
		}
	}
}

// accept takes a connection, provided that the next could be refused.
func (a *acceptor) accept() (int, netip.AddrPort, unix.Errno) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.spare == nil {
		return -1, netip.AddrPort{}, unix.EMFILE
	}
	return nowait.Accept(a.fd)
}

// turnAway takes the next waiting connection, by the descriptor that is held for that,
// and refuses it. It reports false where none waits, or somebody else has the descriptor.
func (a *acceptor) turnAway() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.spare == nil { // the first that is free is kept, before any is used
		a.spare = openSpare()
		return a.spare != nil
	}
	a.spare.Close()
	fd, _, errno := nowait.Accept(a.fd)
	if errno == 0 {
		refuseRaw(fd)
	}
	a.spare = openSpare()
	return errno == 0
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

// refuseRaw answers a request that is there already, and resets everything else.
func refuseRaw(fd int) {
	var b [1 << 10]byte
	if n, errno := nowait.Recv(fd, b[:], 0); errno == 0 && n > 0 && sniff(b[:n]) == isHTTP1 {
		nowait.Send(fd, overflowBytes())
		nowait.Close(fd)
		return
	}
	nowait.Reset(fd)
}

// takeListeners makes the configured listeners the server's own, all or none.
func (s *Server) takeListeners() (all []*acceptor, err error) {
	for _, l := range s.cfg.Listeners {
		a, failed := s.newAcceptor(l)
		if failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		all = append(all, a)
	}
	if err != nil {
		for _, a := range all {
			a.close()
		}
		return nil, err
	}
	return all, nil
}

// start serves a connection from its first byte on and says whether the goroutine
// still runs the lane's loop.
func (s *Server) start(fd int, from netip.AddrPort, ln *lane) bool {
	c := &connection{server: s, fd: fd, src: from, at: ln}
	c.in.memory = &s.memory
	s.mu.Lock()
	full := len(s.conns) >= s.cfg.Limits.Connections
	if !full {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if full {
		c.at = nil
		s.shed(c)
		return true
	}
	s.handlers.Add(1)
	return s.run(c, c.serve)
}
