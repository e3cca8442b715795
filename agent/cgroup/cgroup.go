// Package cgroup gives this process a cgroup (version 2) of its own, by which rules in
// pods can tell its sockets from everybody else's.
//
// A socket belongs to the cgroup that its maker was in at that moment, for good; so
// Join comes before the first socket.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// prefix begins the names of the cgroups that agents make for themselves.
const prefix = "sluice-agent-"

// ErrNone is a machine, or a container, without version 2 of cgroups.
var ErrNone = errors.New("there is no cgroup version 2 here")

// Join moves this process into the cgroup of that path below the hierarchy's root,
// which is made where it is missing. "" is one of this process's own, sluice-agent-PID,
// beneath the one that it was started in: that may be others' too, as a runtime's whose
// pods are in cgroups of version 1 (a hybrid hierarchy). Where none can be made, as in a
// container that may not write to the cgroup file system, the process stays where it
// is, unless that is the root of all. It returns the path, as this process sees it.
//
// What ended agents have left is removed; they cannot remove it themselves.
func Join(path string) (string, error) {
	root, err := mountpoint("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	if path == "" {
		return joinOwn(root)
	}
	path = filepath.Clean("/" + path)
	return path, join(root, path)
}

func joinOwn(root string) (string, error) {
	start, err := current("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	sweep(filepath.Join(root, start))
	path := filepath.Join(start, prefix+strconv.Itoa(os.Getpid()))
	if err = join(root, path); err == nil {
		return path, nil
	}
	if id, failed := number(filepath.Join(root, start)); failed == nil && id == rootID {
		return "", err
	}
	return start, nil
}

func join(root, path string) error {
	if path == "/" {
		return fmt.Errorf("cgroup %q: is the root, which is not one process's own; name one below it", path)
	}
	// Another agent that starts may sweep what nobody is in yet.
	for try := 0; ; try++ {
		err := enter(filepath.Join(root, path))
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENODEV) || try == 3 {
			return fmt.Errorf("cgroup %q: %w; give the agent a writable cgroup file system, or name another with --cgroup", path, err)
		}
	}
}

// rootID is the inode of a hierarchy's root, whatever cgroup namespace it is seen from
// (kernfs numbers from 1).
const rootID = 1

func number(dir string) (uint64, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, err
	}
	return info.Sys().(*syscall.Stat_t).Ino, nil
}

func enter(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// All threads of the process go.
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0)
}

// sweep removes cgroups of agents that have ended: one that anybody is in stays.
func sweep(parent string) {
	left, _ := filepath.Glob(filepath.Join(parent, prefix+"*"))
	for _, dir := range left {
		syscall.Rmdir(dir)
	}
}

// current is the process's cgroup in the hierarchy of version 2.
func current(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if own, found := strings.CutPrefix(strings.TrimRight(line, "\n"), "0::"); found {
			return own, nil
		}
	}
	return "", ErrNone
}

// mountpoint is where the hierarchy is mounted: of proc_pid_mountinfo(5), the fifth
// field, of the line whose type, the first after " - ", is cgroup2.
func mountpoint(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		before, after, found := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if kind, _, _ := strings.Cut(after, " "); found && kind == "cgroup2" && len(fields) > 4 {
			return unescape(fields[4]), nil
		}
	}
	return "", ErrNone
}

// unescape undoes \040 and the like.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
