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
	// lastTurn bounds how many are accepted when a server ends: as many as wait at most.
	lastTurn = 4096
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
	if err := nowait.Listener(a.fd); err != nil {
		nowait.Close(a.fd)
		return nil, err
	}
	unix.SetsockoptInt(a.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // what is accepted inherits it
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
		if !la.lane.loop.Post(func() { la.end(); la.last(lastTurn, ended.Done) }) {
			ended.Done()
		}
	}
	ended.Wait()
	nowait.Close(a.fd)
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

// last accepts who waits by now, one in each turn: they believe that they are connected,
// and would be reset with the socket. Where another server goes on accepting they are its.
func (la *laneAcceptor) last(most int, ended func()) {
	s := la.server
	if most == 0 || s.cfg.HandsOver || s.life.Err() != nil {
		ended()
		return
	}
	fd, from, errno := la.accept()
	if errno != 0 || !la.lane.loop.Post(func() { la.last(most-1, ended) }) {
		ended()
	}
	if errno == 0 {
		s.start(fd, from, la.lane) // after which the loop may be another goroutine's
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
		case nowait.PassesByItself(errno):
			la.rest() // memory ran out: let some be freed
			return
		default:
			la.fail(os.NewSyscallError("accept", errno))
			return
		}
	}
}

// accept takes a connection, provided that the next could be refused.
func (a *acceptor) accept() (fd int, from netip.AddrPort, errno unix.Errno) {
	errno = a.server.spare.taking(func() unix.Errno {
		fd, from, errno = nowait.Accept(a.fd)
		return errno
	})
	return fd, from, errno
}

// turnAway takes the next waiting connection, by the descriptor that is held for that,
// and refuses it. It reports false where none waits, or somebody else has the descriptor.
func (a *acceptor) turnAway() bool {
	return a.server.spare.lend(func() bool {
		fd, _, errno := nowait.Accept(a.fd)
		if errno == 0 {
			refuseRaw(fd)
		}
		return errno == 0
	})
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
	if s.spare == nil {
		s.spare = newSpare()
	}
	for _, l := range s.cfg.Listeners {
		a, failed := s.newAcceptor(l)
		if failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		all = append(all, a)
	}
	if err != nil {
		s.closeListeners(all)
		return nil, err
	}
	return all, nil
}

// closeListeners ends accepting.
func (s *Server) closeListeners(all []*acceptor) {
	for _, a := range all {
		a.close()
	}
	if s.cfg.Limits.Share == nil {
		s.spare.close()
	}
}

// admit counts a connection among those that are open, or says why it may not be.
func (s *Server) admit(c *connection) *overload {
	if !s.descriptors.take(1) {
		return noShare
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= s.cfg.Limits.Connections {
		s.descriptors.giveBack(1)
		return tooManyConnections
	}
	s.conns[c] = struct{}{}
	return nil
}

// admitLater admits a connection when idle ones to servers have given way, and serves it
// then. It reports false where there are none, or many wait for that already.
func (s *Server) admitLater(c *connection) bool {
	if s.pools.crowd.open.Load() == 0 {
		return false
	}
	select {
	case s.relieving <- struct{}{}:
	default:
		return false
	}
	s.handlers.Go(func() {
		s.pools.crowd.relieve(s.life)
		why := s.admit(c)
		<-s.relieving
		if why != nil {
			s.shed(c, why)
			return
		}
		s.handlers.Add(1)
		s.run(c, c.serve)
	})
	return true
}

// start serves a connection from its first byte on and says whether the goroutine
// still runs the lane's loop.
func (s *Server) start(fd int, from netip.AddrPort, ln *lane) bool {
	c := &connection{server: s, fd: fd, src: from, at: ln}
	c.in.memory = &s.memory
	why := s.admit(c)
	if why == nil {
		s.handlers.Add(1)
		return s.run(c, c.serve)
	}
	c.at = nil
	if why != noShare || !s.admitLater(c) {
		s.shed(c, why)
	}
	return true
}
