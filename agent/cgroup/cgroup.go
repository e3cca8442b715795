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

	"golang.org/x/sys/unix"
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
	start, err := current("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	root, done, err := hierarchy()
	if err != nil {
		return "", err
	}
	defer done()
	if path == "" {
		return joinOwn(root, start)
	}
	path = filepath.Clean("/" + path)
	return path, join(root, path)
}

// joinOwn moves the process beneath the cgroup that it was started in.
func joinOwn(root, start string) (string, error) {
	sweep(filepath.Join(root, start))
	path := filepath.Join(start, prefix+strconv.Itoa(os.Getpid()))
	err := join(root, path)
	if err == nil {
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

// hierarchy is a path by which that of version 2 can be reached until done is called. On a
// node with both versions runtimes mount only version 1 in containers: then it is mounted
// for this process alone, at no path but its descriptor's, which a read-only root file
// system does not hinder. That needs CAP_SYS_ADMIN, and Linux 5.2.
func hierarchy() (root string, done func(), err error) {
	if root, err = mountpoint("/proc/self/mountinfo"); !errors.Is(err, ErrNone) {
		return root, func() {}, err
	}
	fd, failed := mountDetached()
	if failed != nil {
		return "", nil, fmt.Errorf("%w: none is mounted, and it cannot be: %w", ErrNone, failed)
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), func() { unix.Close(fd) }, nil
}

// mountDetached mounts the hierarchy nowhere (fsopen(2), fsmount(2)). What it shows begins
// at the root of this process's cgroup namespace, as /proc/self/cgroup does.
func mountDetached() (fd int, err error) {
	context, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(context)
	if err := unix.FsconfigCreate(context); err != nil {
		return -1, os.NewSyscallError("fsconfig", err)
	}
	fd, err = unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	return fd, os.NewSyscallError("fsmount", err)
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
