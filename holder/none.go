package holder

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrRuns: a holder runs.
var ErrRuns = errors.New("a holder runs")

// WhileNone calls do while no holder has the run directory, and none can begin there; do
// may remove what holders have left in it. Where one runs the error wraps ErrRuns.
func WhileNone(runDir string, do func() error) error {
	path := filepath.Join(runDir, lockName)
	lock, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return do() // there is no directory to have
	}
	if err != nil {
		return fmt.Errorf("lock file %q: %w", path, err)
	}
	defer unix.Close(lock)
	if err := unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrRuns
		}
		return fmt.Errorf("run directory %q: %w", runDir, err)
	}
	if !isAt(lock, path) {
		return fmt.Errorf("run directory %q: %w: it has begun just now", runDir, ErrRuns)
	}
	return do()
}
