package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// setupCapabilities are what making the namespace takes.
var setupCapabilities = []uintptr{unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP}

// escapes are the capabilities with which root could leave the namespace, change
// its rules or send beneath them. Without a user namespace of its own the command
// loses exactly these, and keeps what it may do to files and users.
var escapes = []uintptr{
	unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, // rules, packet sockets
	unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE, // setns, other processes' descriptors
	unix.CAP_SYS_MODULE, unix.CAP_SYS_RAWIO, unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_CHECKPOINT_RESTORE,
}

// privileged reports whether this process may make a network namespace as it is.
func privileged() bool {
	held, err := capabilities()
	if err != nil {
		return false
	}
	for _, c := range setupCapabilities {
		if !held.has(c) {
			return false
		}
	}
	return true
}

// dropPrivileges takes capabilities from the calling thread for good: from every
// set and from the bounding set, so that executing a file gives none back. The
// caller stays on the thread and calls execve next.
func dropPrivileges(all bool) error {
	runtime.LockOSThread()
	drop := escapes
	if all {
		drop = nil
		for c := uintptr(0); c <= lastCapability(); c++ {
			drop = append(drop, c)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear the ambient capabilities: %w", err)
	}
	for _, c := range drop {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	held, err := capabilities()
	if err != nil {
		return err
	}
	for _, c := range drop {
		held.remove(c)
	}
	return held.set()
}

// capabilitySets are the calling thread's sets.
type capabilitySets [2]unix.CapUserData

var capabilityHeader = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}

func capabilities() (capabilitySets, error) {
	var sets capabilitySets
	header := capabilityHeader
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return sets, fmt.Errorf("read capabilities: %w", err)
	}
	return sets, nil
}

func (s *capabilitySets) has(c uintptr) bool { return s[c/32].Effective&(1<<(c%32)) != 0 }

func (s *capabilitySets) remove(c uintptr) {
	word, bit := &s[c/32], uint32(1)<<(c%32)
	word.Effective &^= bit
	word.Permitted &^= bit
	word.Inheritable &^= bit
}

func (s *capabilitySets) set() error {
	header := capabilityHeader
	if err := unix.Capset(&header, &s[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}

// lastCapability is the highest the kernel knows.
func lastCapability() uintptr {
	last := uintptr(unix.CAP_LAST_CAP)
	if data, err := os.ReadFile("/proc/sys/kernel/cap_last_cap"); err == nil {
		fmt.Sscan(string(data), &last)
	}
	return min(last, 63)
}

// ErrForbidden reports a machine that lets this user make no namespaces.
var ErrForbidden = errors.New("this user may not make a user and network namespace here")

// forbidden explains err by the settings that are known to cause it.
func forbidden(err error) error {
	var causes []string
	for _, s := range []struct{ path, value, fix string }{
		{"/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=10000"},
		{"/proc/sys/user/max_net_namespaces", "0", "user.max_net_namespaces=10000"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		if data, readErr := os.ReadFile(s.path); readErr == nil && strings.TrimSpace(string(data)) == s.value {
			causes = append(causes, s.fix)
		}
	}
	if len(causes) == 0 {
		return fmt.Errorf("%w: %w (a container's seccomp profile or a security module forbids it)", ErrForbidden, err)
	}
	return fmt.Errorf("%w: %w (an administrator allows it with: sysctl -w %s)", ErrForbidden, err, strings.Join(causes, " "))
}
