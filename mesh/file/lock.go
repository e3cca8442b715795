package file

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The directory itself is the lock: a writer holds it while several files change,
// a reader while it reads them, so that neither sees the other half done. The
// kernel gives it back when its holder dies.

// lockPatience bounds how long a reader waits. A writer needs milliseconds; one
// that hangs must not keep everybody else from reading.
const lockPatience = 2 * time.Second

// writerPatience bounds how long a writer waits for another.
const writerPatience = 10 * time.Second

// lockExclusive waits for the directory to be ours.
func lockExclusive(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := lock(f, unix.LOCK_EX, writerPatience); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &DirectoryError{Dir: dir, Reason: "another process has held it for 10 s; try again when that is done"}
		}
		return nil, &DirectoryError{Dir: dir, Reason: "cannot be locked (" + err.Error() + ")"}
	}
	return func() { f.Close() }, nil
}

// lock tries until it has the lock or loses patience. It does not block in the
// kernel, where a signal handled by Go would not end the wait.
func lock(f *os.File, kind int, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		err := unix.Flock(int(f.Fd()), kind|unix.LOCK_NB)
		retry := errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR)
		if !retry || time.Now().After(deadline) {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// lockShared waits for writers to be done, for a while. A file system without
// locks has no writers that use them.
func lockShared(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	lock(f, unix.LOCK_SH, lockPatience) // without it rather than not at all
	return func() { f.Close() }, nil
}
