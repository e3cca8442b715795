package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/sluice-cni/sluice/internal/wholefile"
)

// keptInstances is how many pods' numbers are kept: an upgrade has two on a node.
const keptInstances = 64

// NumberInstance is the number of the pod uid, which it has from its first call on: higher
// than that of each pod before, and the time then, in nanoseconds since 1970, where the
// clock was not set back. So the order is right though the clock is not, or the directory
// was removed. In dir, which is made, each number is a symbolic link to its UID: it is
// there as a whole or not at all, and only one process makes it.
func NumberInstance(dir, uid string, now time.Time) (int64, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("numbers of agents' pods: %w", err)
	}
	for {
		numbers, err := instanceNumbers(dir)
		if err != nil {
			return 0, fmt.Errorf("numbers of agents' pods: %w", err)
		}
		next := now.UnixNano()
		for _, n := range numbers {
			if of, err := os.Readlink(instancePath(dir, n)); err == nil && of == uid {
				return n, nil
			}
			next = max(next, n+1)
		}
		err = os.Symlink(uid, instancePath(dir, next))
		if errors.Is(err, fs.ErrExist) {
			continue // another pod's agent was faster
		}
		if err == nil {
			err = wholefile.SyncDir(dir)
		}
		if err != nil {
			return 0, fmt.Errorf("numbers of agents' pods: %w", err)
		}
		for _, old := range numbers[:max(len(numbers)-keptInstances, 0)] {
			os.Remove(instancePath(dir, old)) // another time, else
		}
		return next, nil
	}
}

func instancePath(dir string, number int64) string {
	return filepath.Join(dir, strconv.FormatInt(number, 10))
}

// instanceNumbers are those in dir, in order. What else lies there is nobody's.
func instanceNumbers(dir string) (all []int64, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if n, err := strconv.ParseInt(e.Name(), 10, 62); err == nil && n > 0 && e.Type() == fs.ModeSymlink {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, err
}
