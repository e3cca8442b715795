package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sluice-cni/sluice/internal/retired"
	"github.com/sluice-cni/sluice/internal/wholefile"
)

const programMode fs.FileMode = 0o755

// verifyLimit bounds the run that shows that a binary runs on this node.
const verifyLimit = 10 * time.Second

// Binary copies the plugin into the runtime's bin dir, by rename, after it has run
// there: a file of the wrong architecture, or on a disk mounted noexec, is refused
// before any pod meets it. False: it was there already.
func Binary(ctx context.Context, source, binDir string) (bool, error) {
	from, err := os.Open(source)
	if err != nil {
		return false, fmt.Errorf("binary %q: cannot be read: %w", source, cause(err))
	}
	defer from.Close()
	marked, err := retired.Marked(from)
	if err != nil {
		return false, err
	}
	if marked {
		return false, fmt.Errorf("binary %q: is what an uninstall left behind and does nothing; name a fresh one", source)
	}
	target := filepath.Join(binDir, pluginType)
	if equal, err := sameContent(from, target); err != nil || equal {
		return false, err
	}
	return true, put(ctx, binDir, target, func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(from, 0, 1<<40))
		return err
	})
}

// Retire replaces the plugin in the bin dir by one that passes everything through.
// None there is success: there was nothing to retire, and an empty place is no
// better with a program in it.
func Retire(ctx context.Context, binDir string) (bool, error) {
	target := filepath.Join(binDir, pluginType)
	from, err := os.Open(target)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer from.Close()
	if marked, err := retired.Marked(from); err != nil || marked {
		return false, err
	}
	return true, put(ctx, binDir, target, func(w io.Writer) error { return retired.Write(w, from) })
}

// Revive takes from the plugin in the bin dir the mark of an earlier uninstall, where
// somebody else brings the plugin and nobody copies one over it. It is an error that
// wraps fs.ErrNotExist if none is there: every pod that the entry is for fails then.
func Revive(ctx context.Context, binDir string) (bool, error) {
	from, marked, err := brought(binDir)
	if err != nil {
		return false, err
	}
	defer from.Close()
	if !marked {
		return false, nil
	}
	return true, put(ctx, binDir, from.Name(), func(w io.Writer) error { return retired.Revive(w, from) })
}

// brought opens the plugin in the bin dir, and says whether an uninstall has marked it.
func brought(binDir string) (f *os.File, marked bool, err error) {
	target := filepath.Join(binDir, pluginType)
	f, err = os.Open(target)
	if err != nil {
		return nil, false, fmt.Errorf("binary %q: cannot be read: %w; put it there, or have it copied", target, cause(err))
	}
	if marked, err = retired.Marked(f); err != nil {
		f.Close()
		return nil, false, err
	}
	return f, marked, nil
}

// put writes a program beside its place, runs it, and moves it there.
func put(ctx context.Context, dir, target string, write func(io.Writer) error) error {
	if err := sweep(dir); err != nil {
		return fmt.Errorf("directory %q: cannot be cleaned of what an interrupted install left: %w", dir, err)
	}
	name, err := written(dir, write)
	if name != "" {
		defer os.Remove(name)
	}
	if err != nil {
		return err
	}
	if err := verify(ctx, name); err != nil {
		return err
	}
	if err := os.Rename(name, target); err != nil {
		return err
	}
	return wholefile.SyncDir(dir)
}

// written is a new file of the directory with a program in it, closed. A child that another
// goroutine starts meanwhile would have it open until its own exec, and who runs it then is
// refused (ETXTBSY), so none is started.
func written(dir string, write func(io.Writer) error) (name string, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.CreateTemp(dir, temporary)
	if err != nil {
		return "", fmt.Errorf("directory %q: cannot be written: %w; name the runtime's with --bin-dir", dir, cause(err))
	}
	defer f.Close()
	if err := write(f); err != nil {
		return f.Name(), err
	}
	return f.Name(), errors.Join(f.Chmod(programMode), f.Sync(), f.Close())
}

// verify runs the plugin's VERSION.
func verify(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, verifyLimit)
	defer cancel()
	c := exec.CommandContext(ctx, path)
	c.Env = []string{"CNI_COMMAND=VERSION"}
	c.Stdin = bytes.NewReader([]byte(`{"cniVersion":"1.0.0"}`))
	var answer struct {
		SupportedVersions []string `json:"supportedVersions"`
	}
	out, err := c.Output()
	if err == nil {
		err = json.Unmarshal(out, &answer)
	}
	if err == nil && len(answer.SupportedVersions) == 0 {
		err = errors.New("it answered with no versions")
	}
	if err != nil {
		return fmt.Errorf("the plugin does not run in %q: %w; nothing was replaced", filepath.Dir(path), cause(err))
	}
	return nil
}

// sameContent says whether target has the file's content already.
func sameContent(from *os.File, target string) (bool, error) {
	there, err := os.Open(target)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer there.Close()
	if info, err := there.Stat(); err != nil || info.Mode().Perm() != programMode {
		return false, err
	}
	a, err := digest(from)
	if err != nil {
		return false, err
	}
	b, err := digest(there)
	return err == nil && bytes.Equal(a, b), err
}

func digest(f *os.File) ([]byte, error) {
	h := sha256.New()
	_, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<40))
	return h.Sum(nil), err
}

// cause is an error without the path, which the message has.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
