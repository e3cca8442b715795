package credential

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// maxFile bounds what is read: revocation lists can be large.
const maxFile = 32 << 20

// versionOf is the state of several files.
func versionOf(files []wantedFile) (Version, error) {
	var out Version
	for _, f := range files {
		if err := out.add(f.path); err != nil {
			return Version{}, fmt.Errorf("%s %q: %w", f.field, f.path, err)
		}
	}
	return out, nil
}

// add takes in the state of a file. Links are followed: the version of what they lead
// to changes when they lead elsewhere.
func (v *Version) add(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return reason(err)
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file") // opening a pipe would wait
	}
	changed := info.ModTime()
	st, _ := info.Sys().(*syscall.Stat_t)
	if st != nil {
		changed = time.Unix(st.Ctim.Unix()) // which nobody can set
		v.Text += fmt.Sprintf("%d:%d:%d ", st.Dev, st.Ino, changed.UnixNano())
	}
	v.Text += fmt.Sprintf("%d:%d\n", info.Size(), info.ModTime().UnixNano())
	if changed.After(v.Changed) {
		v.Changed = changed
	}
	return nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, reason(err)
	case len(data) > maxFile:
		return nil, fmt.Errorf("larger than %d MiB", maxFile>>20)
	}
	return data, nil
}

// reason leaves out the operation and the path, which the caller names.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
