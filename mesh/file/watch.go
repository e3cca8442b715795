package file

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settleTime is how long a directory must be quiet before it is read: an
	// editor or a copy writes in several steps.
	settleTime = 40 * time.Millisecond
	// maxSettleTime bounds that wait in a directory which is never quiet.
	maxSettleTime = 300 * time.Millisecond
	// pollTime is how often files are looked at for what no notification tells:
	// links into other directories, network file systems, a directory replaced.
	pollTime = 500 * time.Millisecond
	// crowdedPollTime is that for directories of many files.
	crowdedPollTime = 5 * time.Second
	crowd           = 2000
)

// Run follows the directory until ctx ends, then returns nil.
func (s *Store) Run(ctx context.Context) error {
	w := newWatch(s)
	defer w.close()
	w.attach()
	poll := time.NewTimer(0) // what changed since Open
	defer poll.Stop()
	for {
		var how look
		select {
		case <-ctx.Done():
			return nil
		case event, ok := <-w.events():
			if !ok {
				w.lost()
				continue
			}
			how.dirty = w.gather(ctx, event)
		case err := <-w.errors():
			s.log.Warn("watching the configuration", "dir", s.dir, "error", err)
			how.cautious = true // events were lost: look at everything
		case <-poll.C:
			w.attach()
			how.cautious = true
		}
		next := s.pollTime()
		if s.look(how) {
			next = settleTime
		}
		poll.Reset(next)
	}
}

func (s *Store) pollTime() time.Duration {
	if len(s.files) > crowd {
		return crowdedPollTime
	}
	return pollTime
}

// look reloads. A directory that is gone keeps all that was in force.
func (s *Store) look(how look) (unsettled bool) {
	unsettled, err := s.reload(how)
	if err != nil && !s.missing {
		s.log.Error("the configuration cannot be read; what was read last stays in force", "dir", s.dir, "error", err)
	}
	s.missing = err != nil
	return unsettled
}

// watch is a notifier that may be missing: the system has a limit of them. Then
// polling alone has to do.
type watch struct {
	store   *Store
	inner   *fsnotify.Watcher
	watched os.FileInfo
}

func newWatch(s *Store) *watch {
	inner, err := fsnotify.NewWatcher()
	if err != nil {
		s.log.Warn("no notification of changes; the files are looked at twice a second", "dir", s.dir, "error", err)
	}
	return &watch{store: s, inner: inner}
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
	if w.watched != nil {
		w.inner.Remove(w.store.dir)
	}
	if err := w.inner.Add(w.store.dir); err != nil {
		w.store.log.Warn("no notification of changes; the files are looked at twice a second", "dir", w.store.dir, "error", err)
		return
	}
	w.watched = info
}

// gather collects events until the directory is quiet and names their files.
func (w *watch) gather(ctx context.Context, first fsnotify.Event) map[string]bool {
	dirty := map[string]bool{filepath.Base(first.Name): true}
	quiet := time.NewTimer(settleTime)
	defer quiet.Stop()
	enough := time.NewTimer(maxSettleTime)
	defer enough.Stop()
	for {
		select {
		case <-ctx.Done():
			return dirty
		case event, ok := <-w.events():
			if !ok {
				return dirty
			}
			dirty[filepath.Base(event.Name)] = true
			quiet.Reset(settleTime)
		case <-quiet.C:
			return dirty
		case <-enough.C:
			return dirty
		}
	}
}

func (w *watch) events() <-chan fsnotify.Event {
	if w.inner == nil {
		return nil
	}
	return w.inner.Events
}

func (w *watch) errors() <-chan error {
	if w.inner == nil {
		return nil
	}
	return w.inner.Errors
}

func (w *watch) lost() { w.inner = nil }

func (w *watch) close() {
	if w.inner != nil {
		w.inner.Close()
	}
}
