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

// lockExclusive waits for the directory to be ours.
func lockExclusive(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, &DirectoryError{Dir: dir, Reason: "cannot be locked (" + err.Error() + ")"}
	}
	return func() { f.Close() }, nil
}

// lockShared waits for writers to be done, for a while. A file system without
// locks has no writers that use them.
func lockShared(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockPatience); time.Now().Before(deadline); {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	return func() { f.Close() }, nil
}
