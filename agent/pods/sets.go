package pods

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/netns"
	"github.com/sluice-cni/sluice/holder/wire"
)

// sets are the pods' sockets and namespaces that are open in this process, by the core's
// numbers. Its methods may be called by many goroutines.
type sets struct {
	mu   sync.Mutex
	all  map[core.Files]*set
	last core.Files
}

// set is what came or was made at one time: a namespace, and sockets in it. A set that is
// among sets is open.
type set struct {
	ns      *netns.Namespace
	sockets Sockets
	cookie  uint64
	rules   checked // belongs to the pod's actions, which come one after the other

	// Guarded by sets.mu, as soon as it is one of them.
	holding wire.Holding
	opening bool // the holder has not answered yet whether it holds them
}

func newSets() *sets { return &sets{all: map[core.Files]*set{}} }

// Adopt takes a pod's files over from the holder: the sockets, then the namespace. new
// is false for sockets that are here already, as those that this agent held itself: then
// the files are closed, and the number is the older ones'.
func (a *sets) Adopt(holding wire.Holding, files []*os.File) (id core.Files, new bool, err error) {
	fds, ns, err := unpacked(files)
	if err != nil {
		return 0, false, err
	}
	if ns.ID() != holding.Netns {
		ns.Close()
		closeAll(fds)
		return 0, false, fmt.Errorf("the namespace is %s, not %s", ns.ID(), holding.Netns)
	}
	own, err := SocketsOf(holding.Sockets, fds)
	if err != nil {
		ns.Close()
		return 0, false, err
	}
	s := &set{holding: holding, ns: ns, sockets: own, cookie: own.cookie()}
	a.mu.Lock()
	defer a.mu.Unlock()
	for known, other := range a.all {
		if other.holding.Netns == holding.Netns && other.cookie == s.cookie && len(other.sockets.all) == len(own.all) {
			s.close()
			other.holding = holding
			return known, false, nil
		}
	}
	return a.add(s), true, nil
}

// add gives a set its number. a.mu is held.
func (a *sets) add(s *set) core.Files {
	a.last++
	a.all[a.last] = s
	return a.last
}

// put adds a set that the holder is being asked to keep: as one that it does not have yet,
// until answered, where opening says so.
func (a *sets) put(s *set, opening bool) core.Files {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.opening = opening
	return a.add(s)
}

func (a *sets) answered(s *set) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.opening = false
}

func (a *sets) holdingOf(s *set) wire.Holding {
	a.mu.Lock()
	defer a.mu.Unlock()
	return s.holding
}

// reword changes what is said of a set, and returns that, with files of the caller's own.
func (a *sets) reword(s *set, change func(*wire.Holding)) (wire.Holding, []*os.File, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&s.holding)
	files, err := s.files()
	return s.holding, files, err
}

func (a *sets) set(id core.Files) (*set, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.all[id]
	if s == nil {
		return nil, fmt.Errorf("nothing is open under the number %d", id)
	}
	return s, nil
}

// take takes a set out, to be closed by the caller; nil: there is none of that number.
func (a *sets) take(id core.Files) *set {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.all[id]
	delete(a.all, id)
	return s
}

// forget closes a set, if there is one.
func (a *sets) forget(id core.Files) {
	if s := a.take(id); s != nil {
		s.close()
	}
}

func (a *sets) closeAll() {
	a.mu.Lock()
	all := a.all
	a.all = map[core.Files]*set{}
	a.mu.Unlock()
	for _, s := range all {
		s.close()
	}
}

func (s *set) close() {
	s.sockets.Close()
	s.ns.Close()
}

// Have are the pods whose files are here, for the holder. What it is being asked to hold
// at this moment is not among them: it would want it as something that it lost, and then
// refuse it as held.
func (a *sets) Have() (all []wire.Have) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.all {
		if !s.opening {
			all = append(all, wire.Have{Netns: s.holding.Netns, Cookie: s.cookie})
		}
	}
	return all
}

// Kept is what the holder is to keep again, with files of the caller's own.
func (a *sets) Kept(pod wire.Netns) (wire.Holding, []*os.File, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var newest core.Files
	for id, s := range a.all {
		if s.holding.Netns == pod && !s.opening {
			newest = max(newest, id)
		}
	}
	s := a.all[newest]
	if s == nil {
		return wire.Holding{}, nil, false
	}
	files, err := s.files()
	return s.holding, files, err == nil
}

// Name is what the holder calls a pod: zero where nobody knows, or it is not held.
func (a *sets) Name(pod wire.Netns) (name wire.PodName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.all {
		if s.holding.Netns == pod {
			name = s.holding.Pod
		}
	}
	return name
}

// files are duplicates of all of a set's: sockets, then the namespace.
func (s *set) files() (files []*os.File, err error) {
	defer func() {
		if err != nil {
			closeFiles(files)
			files = nil
		}
	}()
	for _, fd := range s.sockets.fds {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return files, os.NewSyscallError("fcntl", err)
		}
		files = append(files, os.NewFile(uintptr(own), "socket"))
	}
	ns, err := s.ns.Dup()
	if err != nil {
		return files, err
	}
	return append(files, ns), nil
}
