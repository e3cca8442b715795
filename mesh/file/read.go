package file

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"
)

// maxFileSize bounds a file of resources: more than Kubernetes would store, and
// no danger to a proxy with little memory.
const maxFileSize = 16 << 20

var errNotRegular = errors.New("not a regular file")

// readFile reads a regular file of bearable size. Opening a pipe or a device must
// not wait for whoever is at its other end: the watcher would stand still.
func readFile(path string) ([]byte, error) { return readUpTo(path, maxFileSize) }

func readUpTo(path string, most int) ([]byte, error) {
	failed := func(op string, err error) ([]byte, error) {
		return nil, &fs.PathError{Op: op, Path: path, Err: err}
	}
	// Without an os.File, which would ask the poller about each of tens of thousands.
	fd, err := again(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0) })
	if err != nil {
		return failed("open", err)
	}
	defer unix.Close(fd)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return failed("stat", err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFREG {
		return failed("read", errNotRegular)
	}
	data := make([]byte, 0, min(info.Size, int64(most))+1)
	for len(data) <= most {
		if len(data) == cap(data) {
			data = slices.Grow(data, len(data))
		}
		n, err := again(func() (int, error) { return unix.Read(fd, data[len(data):cap(data)]) })
		if err != nil {
			return failed("read", err)
		}
		if n == 0 {
			return data, nil
		}
		data = data[:len(data)+n]
	}
	return failed("read", fmt.Errorf("larger than %d MiB; split it", most>>20))
}

// again repeats a system call that a signal interrupted.
func again(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}
