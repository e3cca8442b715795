package cgroups

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Root makes the place all that there is of every hierarchy of version 1, and of the
// unified one beside them, in this world: programs that choose cgroups' places by
// themselves, as podman does, stay within it. This process moves into the place; rooted
// has a command, before it starts, see the place as the root. Where there is version 2
// only, nothing is changed.
func Root() (rooted func(*exec.Cmd), err error) {
	if err := Make(); err != nil {
		return nil, err
	}
	mounts, err := cgroupMounts()
	if err != nil {
		return nil, err
	}
	if len(mounts) == 1 {
		return func(*exec.Cmd) {}, nil
	}
	for _, m := range mounts {
		if err := os.WriteFile(filepath.Join(m.at, Parent(), "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			return nil, fmt.Errorf("move into the place in the hierarchies: %w", err)
		}
	}
	// A mount shows what the thread that makes it sees. The thread ends with its
	// goroutine, since nothing else may run in its namespace.
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- remount(mounts)
	}()
	return inNamespace, <-done
}

func inNamespace(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWCGROUP
}

func remount(mounts []cgroupMount) error {
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a cgroup namespace: %w", err)
	}
	for _, m := range mounts {
		if err := unix.Unmount(m.at, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", m.at, err)
		}
		if err := unix.Mount(m.kind, m.at, m.kind, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, m.options); err != nil {
			return fmt.Errorf("mount %s with %q at %s: %w", m.kind, m.options, m.at, err)
		}
	}
	return nil
}

// cgroupMount is one hierarchy.
type cgroupMount struct{ at, kind, options string }

func cgroupMounts() (all []cgroupMount, err error) {
	content, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(content)) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[2], "cgroup") {
			continue
		}
		m := cgroupMount{at: f[1], kind: f[2]}
		if m.kind == "cgroup" {
			m.options = hierarchy(f[3])
		}
		all = append(all, m)
	}
	return all, nil
}

// hierarchy is what names a hierarchy of version 1 among a mount's options: its
// controllers, or none and its name.
func hierarchy(options string) string {
	var named []string
	for o := range strings.SplitSeq(options, ",") {
		switch o {
		case "rw", "ro", "nosuid", "nodev", "noexec", "relatime", "seclabel", "xattr":
			continue
		}
		if strings.HasPrefix(o, "release_agent=") {
			continue // of the first namespace alone
		}
		if strings.HasPrefix(o, "name=") {
			named = append([]string{"none"}, named...)
		}
		named = append(named, o)
	}
	return strings.Join(named, ",")
}
