// Package wholefile reads and replaces small files as a whole: a reader never waits, and
// never sees half of what a writer writes.
package wholefile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Errors of Read; those of the file system are *fs.PathError.
var (
	ErrNotRegular = errors.New("not a regular file")
	ErrTooLarge   = errors.New("too large")
)

// Read reads a regular file, or one that a link leads to, as in a mounted ConfigMap, of
// at most so many bytes. A pipe could hold the reader up for ever, and is refused.
func Read(path string, most int) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, ErrNotRegular
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("%w: more than %d bytes", ErrTooLarge, most)
	}
	return data, err
}

// Replace puts data in the file's place at once: a reader finds the old one or the new
// one, after a power cut too. The folder is made where it is missing. What one of this file
// that was killed has left is removed.
func Replace(path string, data []byte, mode os.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	Sweep(path)
	tmp, err := os.CreateTemp(dir, temporary(path))
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // it is gone by then unless something failed
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// temporary is the pattern of what Replace writes before it is the file.
func temporary(path string) string { return "." + filepath.Base(path) + "-*" }

// unfinished is how long no Replace takes.
const unfinished = time.Minute

// Sweep removes what a Replace that was killed has left beside a file. path may be a pattern of
// filepath.Match: those files that match.
func Sweep(path string) {
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), temporary(path))) // a name that is no pattern has none
	for _, name := range left {
		_, notNumber := strconv.ParseUint(name[strings.LastIndexByte(name, '-')+1:], 10, 64)
		if info, err := os.Lstat(name); notNumber == nil && err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > unfinished {
			os.Remove(name)
		}
	}
}

// SyncDir has the names that were made, changed or removed in a directory outlive a power cut.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
