package holder

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/core"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/inotify"
)

// watcher notices that a namespace is not at its path any more: the kernel tells
// nobody that a namespace ended, and it does not end as long as its sockets are held.
// Runtimes remove the path when they take a pod down, whether a plugin could tell or
// not. Directories are watched, and every path is looked at each ten seconds besides.
type watcher struct {
	log  *slog.Logger
	left func(core.Left)

	mu     sync.Mutex
	paths  map[wire.Netns]string
	dirs   map[string]bool // true: it is watched
	unseen map[string]bool // directories of which was said that they are not visible
	work   sync.WaitGroup
}

const (
	lookEvery = 10 * time.Second
	// maxDirs bounds the watchers, of which a user has 128 by default. There are one
	// or two in practice.
	maxDirs = 8
)

func newWatcher(log *slog.Logger, left func(core.Left)) *watcher {
	return &watcher{log: log, left: left, paths: map[wire.Netns]string{}, dirs: map[string]bool{}, unseen: map[string]bool{}}
}

// run looks at every path now and then.
func (w *watcher) run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			w.work.Wait()
			return
		case <-tick.C:
			w.look("")
		}
	}
}

// add watches a pod that was seen at its path.
func (w *watcher) add(ctx context.Context, h wire.Holding) {
	if h.Path == "" {
		return
	}
	dir := filepath.Dir(h.Path)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !h.Watched {
		if !w.unseen[dir] {
			w.unseen[dir] = true
			w.log.Warn("namespaces are not visible at their paths: what their runtimes do not release is noticed by agents only; in a container, mount the directory with HostToContainer propagation", "directory", dir, "example", h.Path)
		}
		return
	}
	w.paths[h.Netns] = h.Path
	if _, known := w.dirs[dir]; known || len(w.dirs) >= maxDirs {
		return
	}
	w.dirs[dir] = false
	n, err := inotify.New()
	if err == nil {
		err = n.Add(dir)
	}
	if err != nil {
		w.log.Info("a directory of namespaces is polled, it cannot be watched", "directory", dir, "error", err)
		return
	}
	w.dirs[dir] = true
	w.work.Go(func() { n.Run(ctx) })
	w.work.Go(func() { w.follow(ctx, dir, n) })
}

func (w *watcher) remove(n wire.Netns) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.paths, n)
}

// follow looks at what changed in one directory. When the directory itself goes, what
// is left is the poll's.
func (w *watcher) follow(ctx context.Context, dir string, n *inotify.Watcher) {
	defer n.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case _, more := <-n.Ready():
			if !more {
				return
			}
			lost := false
			names := map[string]bool{}
			n.Drain(func(e inotify.Event) {
				lost = lost || e.Mask&inotify.Itself != 0
				if e.Mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0 {
					names[filepath.Join(dir, e.Name)] = true
				}
			})
			n.Again()
			for path := range names {
				w.look(path)
			}
			if lost {
				w.look("")
			}
		}
	}
}

// look compares what is at a path, or at each of them, with what was there.
func (w *watcher) look(only string) {
	w.mu.Lock()
	var gone []core.Left
	for n, path := range w.paths {
		if only != "" && only != path {
			continue
		}
		switch at, err := identityAt(path); {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), err == nil && at != n:
			gone = append(gone, core.Left{Netns: n, Why: "it is not at " + path + " any more"})
			delete(w.paths, n)
		}
	}
	w.mu.Unlock()
	for _, e := range gone {
		w.left(e)
	}
}
