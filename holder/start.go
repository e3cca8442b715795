package holder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/core"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/rest"
)

const (
	// startAgain is how long to wait before the next try to take over, or to be first.
	startAgain = 200 * time.Millisecond
	// lockMissing is for how many tries one that stands by leaves it to the holder that
	// runs to make the lock anew in a directory that was removed.
	lockMissing = 25
	// frameWait is how long the old holder may take for each of its words.
	frameWait = 10 * time.Second
)

// begin finds out whether a holder runs, and takes over from it, or from what it left.
// The lock tells: it is the kernel's, and ends with the last process that has it.
// One that was succeeded asks nobody, whatever the newer one would answer.
func (h *holder) begin(ctx context.Context, succeeded bool) ([]core.Event, error) {
	said := ""
	for {
		var first []core.Event
		var err error = &wire.Refusal{Code: wire.CodeOlder, Text: "another holder took over"}
		if !succeeded {
			first, err = h.takeOver(ctx)
		}
		succeeded = false
		if err == nil || ctx.Err() != nil {
			return first, errors.Join(err, ctx.Err())
		}
		var fatal fatalError
		if errors.As(err, &fatal) {
			return nil, err
		}
		var refusal *wire.Refusal
		if errors.As(err, &refusal) && refusal.Code == wire.CodeOlder {
			h.log.Info("a newer holder holds; standing by until it ends", "why", err)
			if first, err = h.standBy(ctx); !errors.Is(err, errNoLock) {
				return first, err
			}
			if err := h.makeDirs(); err != nil {
				return nil, err
			}
			continue
		}
		if said != err.Error() {
			said = err.Error()
			h.log.Warn("a holder runs that cannot be taken over yet; trying on", "error", err)
		}
		if rest.For(ctx, startAgain) != nil {
			return nil, ctx.Err()
		}
	}
}

// errNoLock: there is no lock file to wait for.
var errNoLock = errors.New("the lock file is gone")

// standBy waits until no holder has the lock, and then begins with what that one left.
func (h *holder) standBy(ctx context.Context) ([]core.Event, error) {
	path := filepath.Join(h.RunDir, lockName)
	tick := time.NewTicker(startAgain)
	defer tick.Stop()
	for missing := 0; missing < lockMissing; {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		lock, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			missing++
			continue
		}
		missing = 0
		if unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB) == nil && isAt(lock, path) {
			h.log.Info("the newer holder has ended; this one holds again")
			h.lock = lock
			return h.recover()
		}
		unix.Close(lock)
	}
	return nil, errNoLock
}

// fatalError is one that another try does not mend.
type fatalError struct{ error }

func (h *holder) takeOver(ctx context.Context) ([]core.Event, error) {
	path := filepath.Join(h.RunDir, lockName)
	lock, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fatalError{fmt.Errorf("lock file %q: %w", path, err)}
	}
	switch err := unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB); {
	case err == nil && !isAt(lock, path):
		unix.Close(lock)
		return nil, fmt.Errorf("lock file %q: made anew meanwhile", path)
	case err == nil:
		h.lock = lock
		return h.recover()
	case errors.Is(err, unix.EWOULDBLOCK):
		unix.Close(lock)
		return h.succeed(ctx)
	default:
		unix.Close(lock)
		return nil, fatalError{fmt.Errorf("lock file %q: %w", path, err)}
	}
}

// recover is the start without a holder: of what one that died left behind, the
// namespaces that are still there are opened, and their sockets have to be.
func (h *holder) recover() ([]core.Event, error) {
	first := []core.Event{core.Began{Fresh: true, Memory: h.state.memory()}}
	pods, err := h.state.pods(h.log)
	if err != nil {
		return nil, fatalError{err}
	}
	for _, k := range pods {
		b, err := h.reclaim(k)
		if err != nil {
			h.log.Info("a pod of the holder before is not brought back", "pod", k.Pod.String(), "netns", k.Netns.String(), "why", err)
			if err := h.state.forget(k.Netns); err != nil {
				return nil, fatalError{err}
			}
			continue
		}
		first = append(first, core.Inherited{Holding: k, Bundle: b, Broken: true})
	}
	if h.listenFD, err = bind(filepath.Join(h.RunDir, SocketName)); err != nil {
		return nil, fatalError{err}
	}
	return first, nil
}

// reclaim opens the pod's namespace, if it is still the same.
func (h *holder) reclaim(k wire.Holding) (core.Bundle, error) {
	if k.Path == "" {
		return 0, errors.New("it was found through a process and has no path; an agent keeps it, or finds it again")
	}
	fd, err := unix.Open(k.Path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", k.Path, err)
	}
	if err := isPodsNamespace(fd, k.Netns); err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("%s: another namespace is there by now: %w", k.Path, err)
	}
	return h.bundles.add([]int{fd}, k.Sockets), nil
}

// bind makes the control socket under another name and renames it into place: whoever
// connects finds the old one or this. An empty directory there is what a container runtime
// makes of a mount's source that is missing, and gives way.
func bind(path string) (fd int, err error) {
	temporary := fmt.Sprintf("%s.%d", path, os.Getpid())
	os.Remove(temporary)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return -1, fmt.Errorf("control socket: %w", err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		return -1, fmt.Errorf("control socket: %w", err)
	}
	defer f.Close()
	err = os.Chmod(temporary, 0o600)
	if err == nil {
		unix.Rmdir(path)
		err = os.Rename(temporary, path)
	}
	if err == nil {
		fd, err = duplicate(f)
	}
	if err != nil {
		os.Remove(temporary)
		return -1, fmt.Errorf("control socket: %w", err)
	}
	return fd, nil
}

// listenerOf is Go's listener of a bare descriptor, which stays the caller's.
func listenerOf(fd int) (*net.UnixListener, error) {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(copied), SocketName)
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	unixListener, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, errors.New("control socket: the holder before handed over something else")
	}
	unixListener.SetUnlinkOnClose(false)
	return unixListener, nil
}

// succeed takes over from the holder that runs.
//
//	Succeed ─▶      ◀─ Yield + listening socket, lock     ◀─ Pod each, changes, End
//	Took ─▶         ◀─ what was under way                 ◀─ end of the connection
//
// Until Took the old one goes on as before; from its end on this one accepts at the
// same socket. Whatever goes wrong before Took changes nothing; where Took came too late the
// old one says Refused, and goes on.
func (h *holder) succeed(ctx context.Context) (first []core.Event, err error) {
	h.before("succeed")
	dialing, cancel := context.WithTimeout(ctx, frameWait)
	defer cancel()
	c, err := wire.Dial(dialing, filepath.Join(h.RunDir, SocketName))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	s := succession{h: h, conn: c, pods: map[wire.Netns]core.Inherited{}}
	defer func() {
		if err != nil {
			s.giveUp()
		}
	}()
	if err := c.Send(wire.Succeed, wire.SuccessionRequest{Versions: wire.Spoken, PID: os.Getpid(), Build: h.Build, Holder: h.Name}); err != nil {
		return nil, err
	}
	if err := s.receive(); err != nil {
		return nil, err
	}
	h.before("took")
	if err := c.Send(wire.Took, nil); err != nil {
		return nil, err
	}
	var refusal *wire.Refusal
	switch err := s.receive(); {
	case errors.As(err, &refusal):
		return nil, err
	case !errors.Is(err, io.EOF):
		h.log.Warn("the holder before said that this one took over and did not end", "error", err)
	}
	h.before("succeeded")
	return s.events(), nil
}

// succession is what the old holder said so far.
type succession struct {
	h     *holder
	conn  *wire.Conn
	reply wire.SuccessionReply
	pods  map[wire.Netns]core.Inherited
	order []wire.Netns
}

// receive reads until End, or to the end of the connection.
func (s *succession) receive() error {
	for {
		m, fds, err := s.conn.ReceiveRaw(time.Now().Add(frameWait))
		if err != nil {
			return err
		}
		s.h.before("receive " + m.Kind.String())
		if m.Kind == wire.End {
			closeAll(fds)
			if s.h.listenFD < 0 {
				return errors.New("the holder before sent no socket")
			}
			return nil
		}
		if err := s.take(m, fds); err != nil {
			return err
		}
	}
}

// take takes one message's files over, whatever comes of it.
func (s *succession) take(m wire.Message, fds []int) error {
	switch m.Kind {
	case wire.Yield:
		if len(fds) != 2 || s.h.listenFD >= 0 {
			closeAll(fds)
			return errors.New("yield: not a socket and a lock")
		}
		s.h.listenFD, s.h.lock = fds[0], fds[1]
		return m.Into(&s.reply)
	case wire.Pod:
		return s.pod(m, fds)
	case wire.Gone:
		closeAll(fds)
		var gone wire.Departure
		if err := m.Into(&gone); err != nil {
			return err
		}
		s.drop(gone.Netns)
		return nil
	case wire.Refused:
		closeAll(fds)
		refusal := new(wire.Refusal)
		return errors.Join(m.Into(refusal), refusal)
	default:
		closeAll(fds)
		return nil
	}
}

// pod takes a pod, or what is new about one. Its files come from root and were
// inspected by the old holder; a look costs little.
func (s *succession) pod(m wire.Message, fds []int) error {
	var k wire.Holding
	if err := m.Into(&k); err != nil {
		closeAll(fds)
		return err
	}
	lost := len(fds) == 1 && len(k.Sockets) > 0
	if !lost {
		if err := inspect(&k, fds); err != nil {
			closeAll(fds)
			return fmt.Errorf("pod %s: %w", k.Netns, err)
		}
	}
	s.drop(k.Netns)
	s.pods[k.Netns] = core.Inherited{Holding: k, Bundle: s.h.bundles.add(fds, k.Sockets), Broken: lost}
	s.order = append(s.order, k.Netns)
	return nil
}

func (s *succession) drop(n wire.Netns) {
	if before, known := s.pods[n]; known {
		s.h.bundles.drop(before.Bundle)
		delete(s.pods, n)
	}
}

func (s *succession) giveUp() {
	for n := range s.pods {
		s.drop(n)
	}
	for _, fd := range []*int{&s.h.listenFD, &s.h.lock} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}

// events are the pods that are there in the end, each at its last place.
func (s *succession) events() []core.Event {
	first := []core.Event{core.Began{Fresh: s.reply.Fresh, Memory: core.Memory{Exemption: s.reply.Exemption, Agents: s.reply.Agents, Instances: s.reply.Instances, Holders: s.reply.Holders}}}
	for i, n := range s.order {
		p, known := s.pods[n]
		if known && !later(s.order[i+1:], n) {
			first = append(first, p)
		}
	}
	return first
}

func later(order []wire.Netns, n wire.Netns) bool {
	for _, o := range order {
		if o == n {
			return true
		}
	}
	return false
}
