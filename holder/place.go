package holder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/core"
)

// place is what lies in the run directory, as it was when this holder put it there or
// took it over. Whoever removes it while the holder runs cuts plugins and agents off, and
// has the next holder be a second one beside this one: it is looked after, and made anew.
type place struct{ socket, lock, pods os.FileInfo }

func (h *holder) path(name string) string { return filepath.Join(h.RunDir, name) }

// seePlace notes what is there now.
func (h *holder) seePlace() {
	see := func(name string) os.FileInfo {
		info, err := os.Lstat(h.path(name))
		if err != nil {
			return nil // found missing at the next look
		}
		return info
	}
	h.place = place{see(SocketName), see(lockName), see(podsDir)}
}

// missing is the path of something that is not there any more, "" when all is. The state
// files are looked for when all is asked for.
func (h *holder) missing(all bool) string {
	for name, was := range map[string]os.FileInfo{SocketName: h.place.socket, lockName: h.place.lock, podsDir: h.place.pods} {
		if now, err := os.Lstat(h.path(name)); was == nil || err != nil || !os.SameFile(now, was) {
			return h.path(name)
		}
	}
	if all {
		return h.state.missing()
	}
	return ""
}

// mind looks after the run directory. An error ends the holder: another one has taken the
// place meanwhile, and agents that come to it bring what this one held. A place that could
// not be made anew is tried again when all is looked at only: the try is itself a change.
// While a new holder takes over the place is that one's to make.
func (h *holder) mind(ctx context.Context, all bool) error {
	if h.unmade != "" && !all || h.core.Succeeding() {
		return nil
	}
	name := h.missing(all)
	if name == "" {
		h.unmade = ""
		return nil
	}
	if h.unmade == "" {
		h.log.Warn("something in the run directory was removed while the holder runs; it is made anew", "what", name)
	}
	switch err := h.makePlace(ctx); {
	case errors.Is(err, errTaken):
		return err
	case err != nil:
		if h.unmade != err.Error() {
			h.unmade = err.Error()
			h.log.Error("the run directory cannot be made anew; trying on", "error", err)
		}
		return nil
	}
	h.unmade = ""
	return h.step(ctx, core.Emptied{})
}

// errTaken: another holder has begun where this one's lock was removed.
var errTaken = errors.New("another holder runs here since this one's files were removed; this one ends")

// makePlace makes what is missing; the pods' files are the core's to write.
func (h *holder) makePlace(ctx context.Context) error {
	if err := h.makeDirs(); err != nil {
		return err
	}
	if err := h.lockAnew(); err != nil {
		return err
	}
	if now, err := os.Lstat(h.path(SocketName)); err != nil || h.place.socket == nil || !os.SameFile(now, h.place.socket) {
		if err := h.listenAnew(ctx); err != nil {
			return err
		}
	}
	h.seePlace()
	return nil
}

// lockAnew takes the lock at its path, where that is not the one this holder has.
func (h *holder) lockAnew() error {
	path := h.path(lockName)
	lock, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		lock, err = makeLocked(path)
	}
	if err != nil {
		return fmt.Errorf("lock file: %w", err)
	}
	if same(lock, h.lock) {
		unix.Close(lock)
		return nil
	}
	if err := unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unix.Close(lock)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("run directory %q: %w", h.RunDir, errTaken)
		}
		return fmt.Errorf("lock file: %w", err)
	}
	unix.Close(h.lock)
	h.lock = lock
	return nil
}

// makeLocked makes a file that is locked before it has its name: one that stands by looks
// there, and would take it.
func makeLocked(path string) (lock int, err error) {
	temporary := fmt.Sprintf("%s.%d", path, os.Getpid())
	os.Remove(temporary)
	lock, err = unix.Open(temporary, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, err
	}
	defer os.Remove(temporary)
	if err = unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB); err == nil {
		err = unix.Link(temporary, path) // and not over another's
	}
	if err != nil {
		unix.Close(lock)
		return -1, err
	}
	return lock, nil
}

// listenAnew replaces the socket that nobody can find any more. Who waits at the old one
// is reset, and tries again.
func (h *holder) listenAnew(ctx context.Context) error {
	fd, err := bind(h.path(SocketName))
	if err != nil {
		return err
	}
	l, err := listenerOf(fd)
	if err != nil {
		unix.Close(fd)
		return err
	}
	h.listener.Close()
	unix.Close(h.listenFD)
	h.listener, h.listenFD = l, fd
	h.work.Go(func() { h.accept(ctx, l) })
	return nil
}

// isAt: the file has that path still. A lock that was removed is let go of once its holder
// made another, and is nobody's.
func isAt(fd int, path string) bool {
	var x, y unix.Stat_t
	return unix.Fstat(fd, &x) == nil && unix.Lstat(path, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}

// same: both are the same file.
func same(a, b int) bool {
	var x, y unix.Stat_t
	return unix.Fstat(a, &x) == nil && unix.Fstat(b, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}
