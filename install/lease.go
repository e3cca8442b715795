package install

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A lease is how installers of one node, of which an upgrade has two at a time, agree on
// the one that keeps entry and binary. Its file has a line for each that there was, in
// the order in which they came, one that says installed when entry and plugin were in place
// and the runtime used them, and one that says leaving when the plugin was taken out.
// A line's byte is locked (fcntl(2), open file description locks) by its installer for
// as long as that lives: so says the kernel, and no clock.
//
//	in charge      the last line of those whose installer lives, where nobody left after it
//	hands off      all others: an older one, and one that was there when somebody left,
//	               also when the kubelet starts it again in its old pod
//
// The file is to lie where it goes when the machine does.
type lease struct {
	file *os.File
	path string
	name string
}

// Neither is the name of an installer.
const (
	leavingLine   = "- leaving"
	installedLine = "- installed"
)

const (
	// gateByte is locked by whoever looks and changes, or leaves: nobody does between
	// another's look and change. lineBytes is where the lines' bytes begin.
	gateByte  = 0
	lineBytes = 1
	gateEvery = 50 * time.Millisecond
	// gateLimit is how long Leave waits for an installer at work: that may wait for the
	// runtime three times.
	gateLimit = 4 * loadLimit
)

// openLease opens the lease; it is made where it is not there.
func openLease(path, name string) (*lease, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	return &lease{file: f, path: path, name: name}, nil
}

// seeLease opens a lease to look at it: it is errNoInstaller that it is not there.
func seeLease(path, name string) (*lease, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errNoInstaller
	case err != nil:
		return nil, fmt.Errorf("lease: %w", err)
	}
	return &lease{file: f, path: path, name: name}, nil
}

var errNoInstaller = errors.New("'sluice install --watch' has not begun")

// Watched says that an installer which stays runs on this node: one of the lease at path.
func Watched(path string) (bool, error) {
	l, err := seeLease(path, "")
	if err != nil {
		if err == errNoInstaller {
			err = nil
		}
		return false, err
	}
	defer l.close()
	return l.locked(gateByte)
}

// InPlace says why pods that start on this node may go uncaptured, nil once an installer of
// the lease at path has had entry and plugin in place, and nobody has left since. It is what
// the runtime need not be asked for: not every one says which configuration it uses.
func InPlace(path string) error {
	l, err := seeLease(path, "")
	if err != nil {
		return err
	}
	defer l.close()
	lines, err := l.lines()
	if err == nil && !installed(lines) {
		err = errors.New("no installer has had entry and plugin in place yet")
	}
	return err
}

func installed(lines []string) bool {
	for _, line := range slices.Backward(lines) {
		if line == installedLine || line == leavingLine {
			return line == installedLine
		}
	}
	return false
}

func (l *lease) close() error { return l.file.Close() }

// gone: the file is not at its path any more.
func (l *lease) gone() bool {
	at, err := os.Stat(l.path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	own, err := l.file.Stat()
	return err == nil && !os.SameFile(at, own)
}

// pass holds the gate while do runs.
func (l *lease) pass(ctx context.Context, do func() error) error {
	tick := time.NewTicker(gateEvery)
	defer tick.Stop()
	for {
		free, err := l.try(gateByte)
		if err != nil {
			return err
		}
		if free {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("lease %q: another installer of this node is at work: %w", l.path, context.Cause(ctx))
		}
	}
	defer l.lock(unix.F_OFD_SETLK, unix.F_UNLCK, gateByte, 1)
	return do()
}

// enter says whether this installer is in charge, and if not why. The first time it
// comes last in the file. Only in pass.
func (l *lease) enter() (why string, err error) {
	lines, err := l.lines()
	if err != nil {
		return "", err
	}
	at := slices.Index(lines, l.name)
	if at < 0 {
		if at, err = len(lines), l.append(l.name); err != nil {
			return "", err
		}
		lines = append(lines, l.name)
	}
	if alive, err := l.try(lineBytes + at); err != nil || !alive {
		return "the one before it in this pod has not ended yet", err
	}
	if slices.Contains(lines[at:], leavingLine) {
		return "the plugin was taken out of this node ('sluice uninstall')", nil
	}
	newer, err := l.locked(lineBytes + at + 1)
	if err != nil || newer {
		return "a newer installer of this node keeps entry and binary", err
	}
	return "", nil
}

// noteInstalled says so of entry and plugin. Only in pass.
func (l *lease) noteInstalled() error {
	lines, err := l.lines()
	if err != nil || installed(lines) {
		return err
	}
	return l.append(installedLine)
}

// leave tells every installer that there is to keep its hands off. Only in pass.
func (l *lease) leave() error { return l.append(leavingLine) }

func (l *lease) lines() (lines []string, err error) {
	s := bufio.NewScanner(io.NewSectionReader(l.file, 0, 1<<20))
	for s.Scan() {
		lines = append(lines, s.Text())
	}
	if s.Err() != nil {
		return nil, fmt.Errorf("lease %q: %w", l.path, s.Err())
	}
	return lines, nil
}

func (l *lease) append(line string) error {
	if _, err := l.file.WriteString(strings.ReplaceAll(line, "\n", " ") + "\n"); err != nil {
		return fmt.Errorf("lease %q: %w", l.path, err)
	}
	return nil
}

// try locks a byte; false: somebody else has it.
func (l *lease) try(at int) (got bool, err error) {
	_, err = l.lock(unix.F_OFD_SETLK, unix.F_WRLCK, at, 1)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

// locked: somebody else has a byte from there on.
func (l *lease) locked(from int) (bool, error) {
	found, err := l.lock(unix.F_OFD_GETLK, unix.F_WRLCK, from, 0)
	return err == nil && found.Type != unix.F_UNLCK, err
}

func (l *lease) lock(do int, kind int16, from, length int) (unix.Flock_t, error) {
	k := unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: int64(from), Len: int64(length)}
	if err := unix.FcntlFlock(l.file.Fd(), do, &k); err != nil {
		return k, fmt.Errorf("lease %q: lock: %w", l.path, err)
	}
	return k, nil
}
