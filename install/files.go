package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// temporary is how our unfinished files begin. They end in nothing that a runtime
// reads.
const temporary = ".sluice-tmp-"

// apply makes one step. Every new file is written in the conf dir and moved from
// there, and what goes is moved there first: containerd watches this directory
// only, and reads everything again for a rename and a removal in it, not for a
// creation. So a file in a folder below is noticed too, and no file of others has
// to be touched for it.
func apply(dir string, s Step) error {
	target, err := real(filepath.Join(dir, s.Path))
	if err != nil {
		return err
	}
	if s.After == nil {
		return takeOut(dir, target, s.Path)
	}
	like := target
	if s.Before == nil {
		like = filepath.Join(dir, s.like)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("file %q: %w", s.Path, err)
	}
	// A file behind a link lies elsewhere, perhaps on another disk.
	beside := dir
	if s.Before != nil {
		beside = filepath.Dir(target)
	}
	if err := replace(beside, target, like, s.After); err != nil {
		return fmt.Errorf("file %q: %w", s.Path, err)
	}
	if beside != dir && filepath.Dir(filepath.Join(dir, s.Path)) == filepath.Clean(dir) {
		return nudge(dir)
	}
	return nil
}

// real follows links: the file is replaced, not the link to it.
func real(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	return target, err
}

func takeOut(dir, target, path string) error {
	if filepath.Dir(target) == filepath.Clean(dir) {
		return os.Remove(target)
	}
	moved := filepath.Join(dir, temporary+"removed")
	if err := os.Rename(target, moved); err != nil {
		return fmt.Errorf("file %q: %w", path, err)
	}
	// The folder goes when it was ours alone.
	if err := os.Remove(filepath.Dir(target)); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("folder of %q: %w", path, err)
	}
	return os.Remove(moved)
}

// replace writes data beside and moves it over target, with the mode and owner of
// another file.
func replace(beside, target, like string, data []byte) error {
	f, err := os.CreateTemp(beside, temporary)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // of what failed; else it is not there any more
	defer f.Close()
	if info, err := os.Stat(like); err == nil {
		err = f.Chmod(info.Mode().Perm())
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && err == nil {
			err = f.Chown(int(owner.Uid), int(owner.Gid))
		}
		if err != nil {
			return err
		}
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), target); err != nil {
		return err
	}
	return syncDir(filepath.Dir(target))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// nudge makes a runtime read the directory again.
func nudge(dir string) error {
	f, err := os.CreateTemp(dir, temporary)
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}

// sweep removes what an installer left that was killed.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
