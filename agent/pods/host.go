package pods

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/netns"
	"github.com/sluice-cni/sluice/holder/sockets"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/selection"
)

// Holder is what Host wants of the agent's session with the holder.
type Holder interface {
	Hold(context.Context, wire.Holding, []*os.File) error
	Keep(wire.Holding, []*os.File) error
	Release(wire.Netns) error
}

// Host is the Kernel of this machine. What it holds of each pod are sets of files, by
// the core's numbers.
type Host struct {
	common *Common
	holder Holder
	// Fell is told of proxies that ended by themselves; nil: nobody is. It must not wait.
	// It is set before the first Start.
	Fell func(core.Fell)

	mu       sync.Mutex
	sets     map[core.Files]*set
	last     core.Files
	drains   map[wire.Netns]map[*Proxy]bool // which only have old connections left
	snapshot *mesh.Snapshot                 // in force; nil before the first
}

// set is what came or was made at one time: a namespace, sockets in it, and the proxy
// that serves them.
type set struct {
	ns      *netns.Namespace
	sockets Sockets
	cookie  uint64

	// Guarded by Host.mu.
	holding  wire.Holding
	opening  bool // the holder has not answered yet whether it holds them
	proxy    *Proxy
	workload mesh.Workload
}

// NewHost makes a Host without pods.
func NewHost(common *Common, holder Holder) *Host {
	return &Host{common: common, holder: holder, sets: map[core.Files]*set{}, drains: map[wire.Netns]map[*Proxy]bool{}}
}

// Adopt takes a pod's files over from the holder: the sockets, then the namespace. new
// is false for sockets that are here already, as those that this agent held itself: then
// the files are closed, and the number is the older ones'.
func (h *Host) Adopt(holding wire.Holding, files []*os.File) (id core.Files, new bool, err error) {
	fds, err := descriptors(files)
	if err != nil {
		return 0, false, err
	}
	last := len(fds) - 1
	ns, err := netns.Open(os.NewFile(uintptr(fds[last]), "netns"))
	if err != nil {
		closeAll(fds[:last])
		return 0, false, err
	}
	if ns.ID() != holding.Netns {
		ns.Close()
		closeAll(fds[:last])
		return 0, false, fmt.Errorf("the namespace is %s, not %s", ns.ID(), holding.Netns)
	}
	own, err := SocketsOf(holding.Sockets, fds[:last])
	if err != nil {
		ns.Close()
		return 0, false, err
	}
	s := &set{holding: holding, ns: ns, sockets: own, cookie: own.cookie()}
	h.mu.Lock()
	defer h.mu.Unlock()
	for known, other := range h.sets {
		if other.holding.Netns == holding.Netns && other.cookie == s.cookie && len(other.sockets.all) == len(own.all) {
			s.close()
			other.holding = holding
			return known, false, nil
		}
	}
	return h.add(s), true, nil
}

// descriptors takes bare descriptors out of files, which Go's netpoller watches, and
// closes those.
func descriptors(files []*os.File) (fds []int, err error) {
	for _, f := range files {
		raw, failed := f.SyscallConn()
		if failed == nil {
			own := -1
			inner := raw.Control(func(fd uintptr) { own, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
			if failed = errors.Join(inner, failed); failed == nil {
				fds = append(fds, own)
			}
		}
		err = errors.Join(err, failed)
		f.Close()
	}
	if err == nil && len(fds) == 0 {
		err = errors.New("no file came with it")
	}
	if err != nil {
		closeAll(fds)
		return nil, err
	}
	return fds, nil
}

// add gives a set its number. h.mu is held.
func (h *Host) add(s *set) core.Files {
	h.last++
	h.sets[h.last] = s
	return h.last
}

func (h *Host) set(id core.Files) (*set, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.sets[id]
	if s == nil {
		return nil, fmt.Errorf("nothing is open under the number %d", id)
	}
	return s, nil
}

func (s *set) close() {
	s.sockets.Close()
	s.ns.Close()
}

// Have are the pods whose files are here, for the holder. What it is being asked to hold
// at this moment is not among them: it would want it as something that it lost, and then
// refuse it as held.
func (h *Host) Have() (all []wire.Have) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sets {
		if s.sockets.fds != nil && !s.opening {
			all = append(all, wire.Have{Netns: s.holding.Netns, Cookie: s.cookie})
		}
	}
	return all
}

// Kept is what the holder is to keep again, with files of the caller's own.
func (h *Host) Kept(pod wire.Netns) (wire.Holding, []*os.File, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var newest core.Files
	for id, s := range h.sets {
		if s.holding.Netns == pod && s.sockets.fds != nil && !s.opening {
			newest = max(newest, id)
		}
	}
	s := h.sets[newest]
	if s == nil {
		return wire.Holding{}, nil, false
	}
	files, err := s.files()
	return s.holding, files, err == nil
}

// Name is what the holder calls a pod: zero where nobody knows, or it is not held.
func (h *Host) Name(pod wire.Netns) (name wire.PodName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sets {
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

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// Snapshot puts a configuration in force in every pod.
func (h *Host) Snapshot(s *mesh.Snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.snapshot = s
	for _, set := range h.sets {
		if set.proxy != nil {
			set.proxy.Follow(s, set.workload)
		}
	}
}

// reach opens the namespace of a pod that an action is about: that of its files, or one
// that is found at its path or at a process. done closes what was opened.
func (h *Host) reach(t core.Target) (ns *netns.Namespace, done func(), err error) {
	if t.Files != 0 {
		s, err := h.set(t.Files)
		if err != nil {
			return nil, nil, err
		}
		return s.ns, func() {}, nil
	}
	ns, err = find(t)
	if err != nil {
		return nil, nil, err
	}
	return ns, func() { ns.Close() }, nil
}

// find opens a namespace by where it was seen. Another one may be there by now.
func find(t core.Target) (*netns.Namespace, error) {
	path := t.Path
	if path == "" {
		path = netns.PathOf(t.PID)
	}
	ns, err := netns.OpenPath(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, netns.ErrNotOne) {
		return nil, fmt.Errorf("%w: %w", core.ErrGone, err)
	}
	if err != nil {
		return nil, err
	}
	if ns.ID() != t.Pod {
		ns.Close()
		return nil, fmt.Errorf("%w: %s is %s by now", core.ErrGone, path, ns.ID())
	}
	return ns, nil
}

// inside calls f with the descriptor of the pod's namespace.
func (h *Host) inside(t core.Target, f func(fd int) error) error {
	ns, done, err := h.reach(t)
	if err != nil {
		return err
	}
	defer done()
	return ns.With(f)
}

// OpenAndHold opens a running pod's sockets and has the holder keep them.
func (h *Host) OpenAndHold(ctx context.Context, a core.OpenAndHold) (o Opened, err error) {
	s, err := h.opened(a)
	if err != nil {
		return o, err
	}
	defer func() {
		if err != nil {
			h.forget(o.Files)
		}
	}()
	s.holding.Policy, s.holding.Gate = policyOf(a.Gate)
	if o.Mark, err = document(s, a.Description); err != nil {
		s.close()
		return o, err
	}
	s.cookie = s.sockets.cookie()
	files, err := s.files()
	if err != nil {
		s.close()
		return o, err
	}
	defer closeFiles(files)
	h.mu.Lock() // before the holder can bring it: Adopt must find it, and may change the holding
	holding := s.holding
	s.opening = a.Files == 0
	o.Files = h.add(s)
	h.mu.Unlock()
	o.Ports = core.Ports{Outbound: s.sockets.Port(wire.RoleTCP), DNS: s.sockets.Port(wire.RoleDNSPacket)}
	if a.Files != 0 { // the holder has the pod: it is to have more of it
		return o, h.holder.Keep(holding, files)
	}
	if err = h.holder.Hold(ctx, holding, files); err != nil && ctx.Err() != nil {
		h.holder.Release(a.Pod) // it may have been held all the same, just now
	}
	h.mu.Lock()
	s.opening = false
	h.mu.Unlock()
	return o, err
}

// opened is the new set: what is missing, beside what the pod has.
func (h *Host) opened(a core.OpenAndHold) (*set, error) {
	if a.Files != 0 {
		return h.widened(a)
	}
	ns, err := find(a.Target)
	if err != nil {
		return nil, err
	}
	// Rules that are there already redirect DNS too, whatever is decided of them later.
	opened, err := Open(ns, sockets.Wanted{TCP: a.Ports.Outbound, DNS: a.Decision.DNS || a.Ports.DNS != 0, DNSPort: a.Ports.DNS, Everywhere: reroutes(a.Decision)})
	if err != nil {
		ns.Close()
		return nil, err
	}
	name := a.Description.Name
	return &set{ns: ns, sockets: opened, holding: wire.Holding{
		Netns:      a.Pod,
		Attachment: wire.Attachment{ContainerID: a.Container, Path: a.Path},
		Pod:        wire.PodName{Namespace: name.Namespace, Name: name.Name, UID: name.UID},
		Sockets:    opened.Describe(),
		Found:      true,
	}}, nil
}

// reroutes says that what arrives on interfaces is redirected too, to their addresses.
func reroutes(d core.Decision) bool {
	return d.Config != nil && len(d.Config.RerouteInterfaces) > 0
}

// widened shares the sockets that a pod has and opens those for DNS beside them.
func (h *Host) widened(a core.OpenAndHold) (*set, error) {
	old, err := h.set(a.Files)
	if err != nil {
		return nil, err
	}
	files, err := old.files()
	if err != nil {
		return nil, err
	}
	fds, err := descriptors(files)
	if err != nil {
		return nil, err
	}
	last := len(fds) - 1
	ns, err := netns.Open(os.NewFile(uintptr(fds[last]), "netns"))
	if err != nil {
		closeAll(fds[:last])
		return nil, err
	}
	h.mu.Lock()
	holding := old.holding
	h.mu.Unlock()
	s := &set{holding: holding, ns: ns, sockets: Sockets{old.sockets.all, fds[:last]}}
	if a.Decision.DNS && s.sockets.Port(wire.RoleDNSPacket) == 0 {
		more, err := Open(ns, sockets.Wanted{DNS: true, DNSPort: a.Ports.DNS})
		if err != nil {
			s.close()
			return nil, err
		}
		s.sockets = s.sockets.with(more.only(wire.RoleDNSPacket, wire.RoleDNSStream))
	}
	s.holding.Sockets = s.sockets.Describe()
	return s, nil
}

// document is what an agent after this one needs to know of the pod, with a mark of its
// own. One that the pod has already stays.
func document(s *set, d core.Description) (mark uint32, err error) {
	if s.holding.Document != nil {
		return d.Mark, nil
	}
	if mark, err = drawMark(); err != nil {
		return 0, err
	}
	s.holding.Document, err = json.Marshal(selection.Document{Annotations: d.Name.Annotations, DNS: d.DNS, Mark: mark})
	return mark, err
}

// drawMark draws what nobody can guess: 32 bits, not all 0, which is no mark.
func drawMark() (uint32, error) {
	var b [4]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, err
		}
		if mark := binary.NativeEndian.Uint32(b[:]); mark != 0 {
			return mark, nil
		}
	}
}

// policyOf says in the holder's words what a gate means.
func policyOf(gate time.Duration) (policy string, of time.Duration) {
	if gate == 0 {
		return wire.PolicyBlock, 0
	}
	return wire.PolicyBypass, gate
}

// forget closes a set that nothing came of.
func (h *Host) forget(id core.Files) {
	h.mu.Lock()
	s := h.sets[id]
	delete(h.sets, id)
	h.mu.Unlock()
	if s != nil {
		s.close()
	}
}

// Keep gives the holder a pod again, or says what is new of it.
func (h *Host) Keep(_ context.Context, a core.Keep) error {
	s, err := h.set(a.Files)
	if err != nil {
		return err
	}
	h.mu.Lock()
	s.holding.Policy, s.holding.Gate = policyOf(a.Gate)
	s.holding.Found = a.Found
	if a.Container != "" {
		s.holding.ContainerID = a.Container
	}
	holding := s.holding
	files, err := s.files()
	h.mu.Unlock()
	if err != nil {
		return err
	}
	defer closeFiles(files)
	return h.holder.Keep(holding, files)
}

// Start serves a pod.
func (h *Host) Start(_ context.Context, a core.Start) error {
	s, err := h.set(a.Files)
	if err != nil {
		return err
	}
	w := workload(a.Description)
	h.mu.Lock()
	defer h.mu.Unlock() // no snapshot may come between its first and its place in the map
	if s.proxy != nil {
		return nil
	}
	s.proxy, err = h.common.serve(serving{
		namespace: s.ns, sockets: s.sockets, workload: w, dns: a.Description.DNS, mark: a.Description.Mark,
		log: h.log(a.Pod, a.Description), fell: func(p *Proxy, err error) { h.fell(s, p, core.Fell{Pod: a.Pod, Files: a.Files, Err: err}) },
	}, h.snapshot)
	s.workload = w
	return err
}

// fell takes the place from a proxy that has ended by itself, for another.
func (h *Host) fell(s *set, p *Proxy, e core.Fell) {
	h.mu.Lock()
	mine := s.proxy == p
	if mine {
		s.proxy, h.drains[e.Pod] = nil, with(h.drains[e.Pod], p)
		go func() { <-p.ended; h.drained(e.Pod, p) }()
	}
	h.mu.Unlock()
	if mine && h.Fell != nil {
		h.Fell(e)
	}
}

func (h *Host) log(pod wire.Netns, d core.Description) *slog.Logger {
	log := h.common.Logs.Pod()
	if d.Name.Name == "" {
		return log.With("netns", pod.String())
	}
	return log // its proxy says which pod it is
}

// workload is a pod as configuration and metrics know it.
func workload(d core.Description) mesh.Workload {
	return mesh.Workload{Namespace: d.Name.Namespace, Labels: d.Name.Labels, Name: d.Name.Workload, Pod: d.Name.Name}
}

// Follow tells a pod's proxy who the pod is.
func (h *Host) Follow(_ context.Context, a core.Follow) error {
	s, err := h.set(a.Files)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.workload = workload(a.Description)
	if s.proxy != nil {
		s.proxy.Follow(h.snapshot, s.workload)
	}
	return nil
}

// Stop ends serving. Of files that are closed already it is done. Without a drain what
// drains from before is cut too: in a namespace that is gone nothing is worth waiting for,
// and its sockets would keep it.
func (h *Host) Stop(_ context.Context, a core.Stop) (drained <-chan struct{}, err error) {
	h.mu.Lock()
	s := h.sets[a.Files]
	var p *Proxy
	if s != nil {
		p, s.proxy = s.proxy, nil
		if a.Close {
			delete(h.sets, a.Files)
		}
	}
	before := slices.Collect(maps.Keys(h.drains[a.Pod]))
	if p != nil && a.Drain > 0 {
		h.drains[a.Pod] = with(h.drains[a.Pod], p)
	}
	h.mu.Unlock()
	closeRest := func() {}
	if s != nil && a.Close {
		s.sockets.Close()
		closeRest = func() { s.ns.Close() } // in which those that drain make sockets still
	}
	if a.Drain == 0 {
		for _, other := range before {
			other.Cut()
		}
		if p != nil {
			p.Cut()
		}
		closeRest()
		return nil, nil
	}
	ended := make(chan struct{})
	if p == nil { // there is nothing to wait for, and its end is told all the same
		closeRest()
		close(ended)
		return ended, nil
	}
	p.Drain()
	go func() {
		defer close(ended)
		p.within(a.Drain)
		h.drained(a.Pod, p)
		closeRest()
	}()
	return ended, nil
}

func with(all map[*Proxy]bool, p *Proxy) map[*Proxy]bool {
	if all == nil {
		all = map[*Proxy]bool{}
	}
	all[p] = true
	return all
}

func (h *Host) drained(pod wire.Netns, p *Proxy) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.drains[pod], p)
	if len(h.drains[pod]) == 0 {
		delete(h.drains, pod)
	}
}

// Release lets the holder let go of a pod, and does so too.
func (h *Host) Release(_ context.Context, a core.Release) error {
	if err := h.holder.Release(a.Pod); err != nil {
		return err
	}
	h.forget(a.Files)
	return nil
}

// Close cuts and closes everything; for the end of the process, and of tests.
func (h *Host) Close() {
	h.mu.Lock()
	all := h.sets
	h.sets = map[core.Files]*set{}
	h.mu.Unlock()
	for _, s := range all {
		if s.proxy != nil {
			s.proxy.Cut()
		}
		s.close()
	}
}

// Served is what is told of a pod that is served.
type Served struct {
	Open  int // connections of the pod's
	Since time.Time
}

// Served are the pods that are served.
func (h *Host) Served() map[wire.Netns]Served {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make(map[wire.Netns]Served, len(h.sets))
	for _, s := range h.sets {
		if s.proxy != nil {
			out[s.holding.Netns] = Served{s.proxy.Open(), s.proxy.since}
		}
	}
	return out
}

// Server is the proxy that serves a pod, nil for none.
func (h *Host) Server(pod wire.Netns) *proxy.Server {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sets {
		if s.holding.Netns == pod && s.proxy != nil {
			return s.proxy.server
		}
	}
	return nil
}
