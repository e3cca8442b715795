package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// isolatedEnv marks the process that Isolate started, so that it starts no other.
const isolatedEnv = "SLUICE_LAB_ISOLATED"

// ErrNoNamespaces reports a machine that lets this user make no namespaces.
var ErrNoNamespaces = errors.New("this user may not make user namespaces here (kernel setting user.max_user_namespaces or kernel.unprivileged_userns_clone, AppArmor, or a container's seccomp profile)")

// Isolate runs this program again, with the same arguments and streams, in
// network and mount namespaces of its own with a fresh /run, and reports its
// exit code. Root keeps its identity; any other user becomes root of a user
// namespace of its own, in which only that one user exists. Inside, Isolate
// returns inside = true at once and the caller goes on: whatever it does then
// to links, rules, mounts or /run ends with it and touches nothing outside.
func Isolate() (inside bool, exitCode int, err error) {
	if os.Getenv(isolatedEnv) != "" {
		return true, 0, settleIn()
	}
	self, err := os.Executable()
	if err != nil {
		return false, 1, err
	}
	cmd := exec.Command(self)
	cmd.Args = os.Args
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), isolatedEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return runForwardingSignals(cmd)
}

// OwnUserNamespace reports whether Isolate made a user namespace: then only one
// uid and gid exist.
func OwnUserNamespace() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false
	}
	var inside, outside, size uint64
	if _, err := fmt.Sscan(string(data), &inside, &outside, &size); err != nil {
		return false
	}
	return size == 1
}

func runForwardingSignals(cmd *exec.Cmd) (inside bool, exitCode int, err error) {
	if err := startOnPdeathsigThread(cmd); err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EACCES) {
			return false, 1, fmt.Errorf("%w: %w", ErrNoNamespaces, err)
		}
		return false, 1, err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	go func() {
		for s := range signals {
			// A terminal's Ctrl-C reaches the whole group by itself; the second one
			// does no harm, and a kill of this process alone must not be lost.
			cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	signal.Stop(signals)
	close(signals)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false, 0, nil
	case errors.As(err, &exit):
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return false, 128 + int(ws.Signal()), nil
		}
		return false, exit.ExitCode(), nil
	}
	return false, 1, err
}

// settleIn makes the new namespaces habitable: nothing mounted here shows
// outside, /run is empty and writable, loopback is up.
func settleIn() error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("sluice-lab", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount a fresh /run: %w", err)
	}
	return loopbackUp()
}
