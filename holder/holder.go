// Package holder keeps pods' listening sockets and their namespaces open, so that a
// connection waits in its queue while agents die, are upgraded or start, and is
// refused by nobody:
//
//	sluice-cni ──hold, release──▶ holder ◀──hello, take, alive── agent
//	                                │ ───pods with their files──▶
//	                                └── waits, then resets, while no agent is there
//
// It hardly ever changes, and knows nothing of what the sockets are for. When it is
// upgraded the new one takes everything over from the old one, the socket that it is
// spoken to at included. What it does is decided in holder/core; this package is what
// touches the kernel.
package holder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/core"
	"github.com/sluice-cni/sluice/internal/inotify"
)

const (
	// DefaultRunDir goes with the machine's namespaces when it is started anew.
	DefaultRunDir = "/run/sluice"
	// SocketName is the control socket in the run directory.
	SocketName = "holder.sock"
	lockName   = "holder.lock"
	// leaveTime is how long what is queued may take to be written once another holder
	// took over.
	leaveTime = 2 * time.Second
)

// DefaultSocket is where plugins and agents find the holder.
const DefaultSocket = DefaultRunDir + "/" + SocketName

// Options say where a holder keeps its things.
type Options struct {
	// RunDir is DefaultRunDir when empty. It is made with mode 0700.
	RunDir string
	// WaitLimit is how long connections wait while no agent is there;
	// core.DefaultWaitLimit when zero.
	WaitLimit time.Duration
	Build     string
	// Name is who this holder is over its restarts: the UID of its pod. Of two names the
	// one that held first is the older, and does not take over from the other. Empty: this
	// process, and never older than one that runs.
	Name string
	// Stay: a holder that was succeeded stands by, and holds again when the newer one
	// has ended.
	Stay bool
	Log  *slog.Logger

	// look is how often paths of namespaces are looked at; lookEvery when zero.
	look time.Duration
	// before is told of each action; tests die there.
	before func(what string)
}

// holder is one that runs. The loop in Run owns the core.
type holder struct {
	Options
	log     *slog.Logger
	base    time.Time
	core    *core.State
	events  chan core.Event
	bundles *bundles
	refuser *refuser
	watcher *watcher
	state   stateFiles
	place   place
	// unmade is why the place could not be made anew, in the log; "": it could.
	unmade string
	// changes has a token when something happened in the run directory.
	changes <-chan struct{}
	work    sync.WaitGroup

	// listener is how peers come in; listenFD is the same socket, to be handed on.
	listener       *net.UnixListener
	listenFD, lock int

	peersMu  sync.Mutex
	peers    map[core.Conn]*peer
	lastConn core.Conn
	closed   bool

	quietMu    sync.Mutex
	quietSince time.Time
	complaints int
}

// Run holds until ctx ends, which leaves the state for the next holder and closes
// everything, or until another holder took over: then it returns ErrSucceeded, or with
// Stay stands by. Where a holder runs already it takes over from that one; where that one
// is newer it stands by, whatever Stay is.
func Run(ctx context.Context, o Options) error {
	o.Log = cmp.Or(o.Log, slog.Default())
	o.RunDir = cmp.Or(o.RunDir, DefaultRunDir)
	if o.Name == "" {
		own, err := lookAt(os.Getpid())
		if err != nil {
			return fmt.Errorf("this process in /proc: %w", err)
		}
		o.Name = fmt.Sprintf("process %d of %d, started at %d", own.PID, own.Namespace, own.Start)
	}
	for succeeded := false; ; succeeded = true {
		if err := run(ctx, o, succeeded); !o.Stay || !errors.Is(err, ErrSucceeded) {
			return err
		}
	}
}

// run is one term of office. succeeded: there was one before, and a newer holder runs.
func run(ctx context.Context, o Options, succeeded bool) error {
	h := &holder{Options: o, log: o.Log, base: time.Now(), events: make(chan core.Event), bundles: newBundles(),
		peers: map[core.Conn]*peer{}, listenFD: -1, lock: -1, state: newStateFiles(o.RunDir)}
	h.core = core.New(core.Settings{WaitLimit: o.WaitLimit, Build: o.Build, PID: os.Getpid(), Holder: o.Name})
	h.refuser = newRefuser(h.log)
	if h.before == nil {
		h.before = func(string) {}
	}
	if err := h.makeDirs(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer h.end(cancel)
	h.watcher = newWatcher(h.log, func(e core.Left) { h.post(ctx, e) })
	first, err := h.begin(ctx, succeeded)
	if err != nil {
		return err
	}
	if err := h.open(ctx, first); err != nil {
		return err
	}
	return h.loop(ctx)
}

// ErrSucceeded: another holder has everything now.
var ErrSucceeded = errors.New("another holder took over")

// makeDirs makes the run directory and what is in it.
func (h *holder) makeDirs() error {
	if err := makePrivate(h.RunDir); err != nil {
		return err
	}
	return h.state.make()
}

// makePrivate makes the directory, of which nobody but its owner has a use.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = os.Chmod(dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("run directory %q: %w", dir, err)
	}
	return nil
}

// open takes what the start brought, and lets peers in.
func (h *holder) open(ctx context.Context, first []core.Event) error {
	for _, e := range first {
		if err := h.step(ctx, e); err != nil {
			return err
		}
	}
	l, err := listenerOf(h.listenFD)
	if err != nil {
		return err
	}
	h.listener = l
	h.seePlace()
	h.changes = inotify.Changes(ctx, h.RunDir)
	h.work.Go(func() { h.accept(ctx, l) })
	absent := h.core.Absent() // asked here: from now on the core is the loop's
	h.work.Go(func() { h.mourn(ctx, absent) })
	h.work.Go(func() { h.watcher.run(ctx, cmp.Or(h.look, lookEvery)) })
	h.log.Info("ready", "socket", filepath.Join(h.RunDir, SocketName), "pods", len(h.core.Status().Pods), "pid", os.Getpid(), "build", h.Build)
	return nil
}

func (h *holder) loop(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	look := time.NewTicker(cmp.Or(h.look, lookEvery))
	defer look.Stop()
	changes := h.changes
	for {
		if at, wanted := h.core.Next(); wanted {
			timer.Reset(time.Duration(max(at-h.now(), 0)))
		} else {
			timer.Stop()
		}
		var e core.Event
		var err error
		select {
		case _, more := <-changes:
			if !more {
				changes = nil
			}
			err = h.mind(ctx, false)
		case <-look.C:
			err = h.mind(ctx, true)
		case <-ctx.Done():
			h.log.Info("ends; agents go on, and the next holder finds what was held", "pods", len(h.core.Status().Pods))
			return nil
		case e = <-h.events:
		case <-timer.C:
			e = core.Tick{}
		}
		if e != nil {
			err = h.step(ctx, e)
		}
		if err != nil {
			return err
		}
	}
}

func (h *holder) now() int64 { return int64(time.Since(h.base)) }

// post hands an event to the loop; false: the holder ends.
func (h *holder) post(ctx context.Context, e core.Event) bool {
	select {
	case h.events <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

// step lets the core decide, and does what it says. What an action brings about at
// once is the next event.
func (h *holder) step(ctx context.Context, e core.Event) error {
	for queue := []core.Event{e}; len(queue) > 0; queue = queue[1:] {
		for _, a := range h.core.Step(h.now(), queue[0]) {
			h.before(fmt.Sprintf("%T", a))
			if _, leaves := a.(core.Leave); leaves {
				return h.leave()
			}
			if came := h.perform(ctx, a); came != nil {
				queue = append(queue, came)
			}
		}
	}
	return nil
}

// leave writes what is queued, a while, and closes every connection.
func (h *holder) leave() error {
	h.before("leave")
	h.listener.Close()
	h.peersMu.Lock()
	h.closed = true
	peers := h.peers
	h.peers = map[core.Conn]*peer{}
	h.peersMu.Unlock()
	deadline := time.After(leaveTime)
	for _, p := range peers {
		p.close()
	}
	for _, p := range peers {
		select {
		case <-p.written:
		case <-deadline:
			for _, p := range peers {
				p.conn.Close()
			}
			return ErrSucceeded
		}
	}
	return ErrSucceeded
}

// end closes everything, in the order in which it is used.
func (h *holder) end(cancel context.CancelFunc) {
	cancel()
	if h.listener != nil {
		h.listener.Close()
	}
	h.peersMu.Lock()
	h.closed = true
	for _, p := range h.peers {
		p.close()
		p.conn.Close()
	}
	h.peersMu.Unlock()
	h.work.Wait()
	if h.changes != nil {
		for range h.changes { // until nothing of it is left
		}
	}
	h.refuser.end()
	h.bundles.closeAll()
	for _, fd := range []int{h.listenFD, h.lock} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// complain logs what a peer did wrong, a line a second: it must not be able to fill a
// disk.
func (h *holder) complain(text string, attributes ...any) {
	h.quietMu.Lock()
	defer h.quietMu.Unlock()
	h.complaints++
	if time.Since(h.quietSince) < time.Second {
		return
	}
	h.quietSince = time.Now()
	h.log.Warn(text, append(attributes, "complaints", h.complaints)...)
}
