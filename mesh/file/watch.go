package file

import (
	"context"
	"os"
	"time"

	"github.com/sluice-cni/sluice/internal/inotify"
)

const (
	// settleTime is how long a directory must be quiet before a file is read that was
	// not renamed into place: an editor or a copy writes in several steps.
	settleTime = 40 * time.Millisecond
	// maxSettleTime bounds that wait in a directory which is never quiet.
	maxSettleTime = 300 * time.Millisecond
	// pollTime is how often files are looked at for what no notification tells:
	// links into other directories, network file systems, a directory replaced.
	pollTime = 500 * time.Millisecond
	// A directory of many files is gone through in parts, so that no change waits for
	// long behind a look at all of them: once in so many polls.
	crowded      = 2000
	crowdedParts = 10
)

// Run follows the directory until ctx ends, then returns nil.
func (s *Store) Run(ctx context.Context) error {
	w := newWatch(ctx, s)
	defer w.close()
	check := newChecks(s)
	defer check.close()
	poll := time.NewTimer(0) // what changed since Open
	defer poll.Stop()
	settled := time.NewTimer(time.Hour)
	defer settled.Stop()
	for polls := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-w.ready():
			if !ok {
				w.lost()
				continue
			}
			w.take()
			w.again()
			settled.Reset(w.pending.wait(time.Now()))
		case <-settled.C:
			if w.pending.none() {
				continue
			}
			s.lookAtPending(w)
			if !w.pending.none() {
				settled.Reset(w.pending.wait(time.Now()))
			}
		case <-poll.C:
			w.attach()
			s.look(w, s.pollLook(polls))
			polls++
			if !w.pending.none() {
				settled.Reset(w.pending.wait(time.Now()))
			}
			s.keepAgain(time.Now())
			poll.Reset(pollTime)
		case <-s.reassign:
			s.assignAgain()
		case <-check.due():
			check.begin()
		case <-check.done:
			check.end()
		}
		check.want()
	}
}

// pollLook says what a poll looks at: a crowd's files come in turn.
func (s *Store) pollLook(polls int) look {
	if len(s.names) <= crowded {
		return look{list: true, every: true, cautious: true}
	}
	return look{list: polls%crowdedParts == 0, part: (len(s.names) + crowdedParts - 1) / crowdedParts, cautious: true}
}

// look looks at the directory. One that is gone keeps all that was in force.
func (s *Store) look(w *watch, how look) {
	defer s.keepNew() // without the lock
	unlock, err := lockShared(s.dir)
	if err == nil {
		defer unlock()
		var unsettled []string
		unsettled, err = s.reload(how)
		w.pending.later(unsettled, time.Now())
	}
	s.note(err)
}

// lookAtPending looks at what notifications named, unless it has to wait.
func (s *Store) lookAtPending(w *watch) {
	defer s.keepNew() // without the lock
	unlock, err := lockShared(s.dir)
	if err == nil {
		defer unlock()
		// A writer that holds the lock does several things in one go. They are all done now.
		if w.take(); w.pending.wait(time.Now()) > 0 {
			return
		}
	}
	how := w.pending.look()
	if w.pending.lost {
		w.attachAnew()
	}
	w.pending = pending{}
	if err == nil {
		var unsettled []string
		unsettled, err = s.reload(how)
		w.pending.later(unsettled, time.Now())
	}
	s.note(err)
}

// note logs once that the directory is gone.
func (s *Store) note(err error) {
	if err != nil && !s.missing {
		s.log.Error("the configuration cannot be read; what was read last stays in force", "dir", s.dir, "error", err)
	}
	s.missing = err != nil
}

// watch is a Watcher that may be missing: the system has a limit of them. Then
// polling alone has to do.
type watch struct {
	store   *Store
	inner   *inotify.Watcher
	watched os.FileInfo
	pending pending
	ended   chan struct{}
	stop    context.CancelFunc
}

func newWatch(ctx context.Context, s *Store) *watch {
	w := &watch{store: s, ended: make(chan struct{})}
	ctx, w.stop = context.WithCancel(ctx)
	inner, err := inotify.New()
	if err != nil {
		s.log.Warn("no notification of changes; the files are looked at twice a second", "dir", s.dir, "error", err)
		close(w.ended)
		return w
	}
	w.inner = inner
	w.attach()
	go func() {
		defer close(w.ended)
		inner.Run(ctx)
	}()
	return w
}

// attach watches the directory, again if another one has taken its place.
func (w *watch) attach() {
	if w.inner == nil {
		return
	}
	info, err := os.Stat(w.store.dir)
	if err != nil || w.watched != nil && os.SameFile(info, w.watched) {
		return
	}
	if err := w.inner.Add(w.store.dir); err != nil {
		w.store.log.Warn("no notification of changes; the files are looked at twice a second", "dir", w.store.dir, "error", err)
		return
	}
	w.watched = info
}

// attachAnew is attach for a directory of which notifications may have ended.
func (w *watch) attachAnew() {
	w.watched = nil
	w.attach()
}

// take adds what was told since to what is pending.
func (w *watch) take() {
	if w.inner == nil {
		return
	}
	now := time.Now()
	w.inner.Drain(func(e inotify.Event) { w.pending.add(e, now) })
}

func (w *watch) ready() <-chan struct{} {
	if w.inner == nil {
		return nil
	}
	return w.inner.Ready()
}

// again asks for the next token.
func (w *watch) again() { w.inner.Again() }

func (w *watch) lost() {
	w.inner.Close()
	w.inner = nil
}

func (w *watch) close() {
	w.stop()
	if w.inner != nil {
		w.inner.Close()
	}
	<-w.ended
}
