package file

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/sluice-cni/sluice/internal/wholefile"
)

// commit writes every new content beside its file first, so that what can fail
// has failed before anything changes, and then puts them in place.
func (t *transaction) commit() error {
	temporary := make(map[string]string)
	defer func() {
		for _, path := range temporary {
			os.Remove(path)
		}
	}()
	for name, data := range t.after {
		if data == nil {
			continue
		}
		path, err := writeBeside(t.target(name), data)
		if err != nil {
			return fmt.Errorf("%q: cannot be written (%s); nothing was changed", filepath.Join(t.dir, name), reason(err))
		}
		temporary[name] = path
	}
	// New content first: whoever dies in between leaves an object twice, never none.
	for name, path := range temporary {
		if err := os.Rename(path, t.target(name)); err != nil {
			return err
		}
		delete(temporary, name)
	}
	for name, data := range t.after {
		if data == nil {
			if err := os.Remove(filepath.Join(t.dir, name)); err != nil {
				return err
			}
		}
	}
	return wholefile.SyncDir(t.dir)
}

// target is the file behind a name, so that a link stays a link.
func (t *transaction) target(name string) string {
	path := filepath.Join(t.dir, name)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// temporaryName is hidden, so that no reader takes it for resources.
const temporaryName = ".sluice-*.tmp"

// removeLeftovers removes what a writer that was killed left behind. Whoever has
// the lock is the only writer, so nobody is using them.
func removeLeftovers(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if mine, _ := filepath.Match(temporaryName, e.Name()); mine {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// writeBeside writes data to the disk, under a hidden name in path's directory.
func writeBeside(path string, data []byte) (temporary string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), temporaryName)
	if err != nil {
		return "", err
	}
	defer func() {
		if closing := f.Close(); err == nil {
			err = closing
		}
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	mode := os.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
		// Whose it was it stays, as far as this user may: root must not take a
		// file away from its owner, nor from a proxy that runs as its owner.
		if was, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
			if err := f.Chown(int(was.Uid), int(was.Gid)); err != nil {
				return "", err
			}
		}
	}
	if _, err := f.Write(data); err != nil {
		return "", err
	}
	if err := f.Chmod(mode); err != nil {
		return "", err
	}
	return f.Name(), f.Sync()
}
