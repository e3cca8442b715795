package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// maxFileSize bounds a file of resources: more than Kubernetes would store, and
// no danger to a proxy with little memory.
const maxFileSize = 16 << 20

var errNotRegular = errors.New("not a regular file")

// readFile reads a regular file of bearable size. Opening a pipe or a device must
// not wait for whoever is at its other end: the watcher would stand still.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errNotRegular}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err == nil && len(data) > maxFileSize {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %d MiB; split it", maxFileSize>>20)}
	}
	return data, err
}
