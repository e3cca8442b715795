package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/wholefile"
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
	if err := replace(beside, target, like, s); err != nil {
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

// errChanged is a file that is not any more what the step was made from.
var errChanged = errors.New("was written by somebody else meanwhile; try again")

// replace writes the step's content beside and moves it over target, with the mode and
// owner of another file. Labels and access lists stay those of the target; a new file
// has those that its directory gives.
func replace(beside, target, like string, s Step) error {
	f, err := os.CreateTemp(beside, temporary)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // of what failed; else it is not there any more
	defer f.Close()
	if s.Before != nil {
		keepAttributes(target, f)
	}
	// The owner last: a file of another's is changed by who may act as any owner only.
	if info, err := os.Stat(like); err == nil {
		err = f.Chmod(info.Mode().Perm())
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && err == nil {
			err = f.Chown(int(owner.Uid), int(owner.Gid))
		}
		if err != nil {
			return err
		}
	}
	if _, err := f.Write(s.After); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	// Last, since a sync can take long: a primary that writes without a rename would
	// lose what it wrote since the look.
	if now, err := os.ReadFile(target); err == nil && !bytes.Equal(now, s.Before) || err != nil && s.Before != nil {
		return errors.Join(errChanged, err)
	}
	if err := os.Rename(f.Name(), target); err != nil {
		return err
	}
	return wholefile.SyncDir(filepath.Dir(target))
}

// keepAttributes gives a file the extended attributes of another, as far as the disk and
// the kernel's policy let it: what SELinux calls a file, and access lists.
func keepAttributes(of string, f *os.File) {
	names := make([]byte, 4096)
	n, err := unix.Listxattr(of, names)
	if err != nil {
		return
	}
	value := make([]byte, 64<<10) // XATTR_SIZE_MAX
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if size, err := unix.Getxattr(of, name, value); err == nil {
			unix.Fsetxattr(int(f.Fd()), name, value[:size], 0)
		}
	}
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
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
