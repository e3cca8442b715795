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

// worldEnv marks the processes that World started: the first of the new process
// namespace, then the program inside it.
const worldEnv = "SLUICE_LAB_WORLD"

// worldFolders are empty inside a world: where container runtimes, CNI plugins, sluice
// and their states live by default, some of which no flag moves. What else is written
// into the trees of worldCopies stays inside.
var (
	worldCopies  = []string{"/etc", "/var", "/opt"}
	worldFolders = []string{
		"/var/lib/cni", "/etc/cni", "/opt/cni", "/var/log/pods", "/var/log/containers", "/var/lib/sluice",
	}
)

// worldAbsent is not there, whatever the machine has: sluice reads it before it asks a
// cluster.
const worldAbsent = "/etc/sluice"

// worldScratch holds what is written in worldCopies. Every system has the folder.
const worldScratch = "/mnt"

// World is Isolate for programs that start daemons: process, IPC and host-name
// namespaces too, and empty folders of its own where container runtimes keep
// things. When the program ends the kernel kills whatever it left running. Only
// root can make one. Cgroups alone are shared with the machine.
func World() (inside bool, exitCode int, err error) {
	switch os.Getenv(worldEnv) {
	case "init":
		err := furnishWorld()
		if err == nil {
			exitCode, err = initWorld()
		}
		return false, exitCode, err
	case "inside":
		return true, 0, nil
	}
	if os.Geteuid() != 0 {
		return false, 1, errors.New("a world of its own needs root")
	}
	cmd, err := sameProgram(worldEnv + "=init")
	if err != nil {
		return false, 1, err
	}
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	return runForwardingSignals(cmd)
}

func sameProgram(mark string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Args = os.Args
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), mark)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

// furnishWorld cuts the mounts off from the machine's and makes them one peer group
// again, as a host's are: what a container gets with mount propagation arrives.
func furnishWorld() error {
	for _, flags := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
		if err := unix.Mount("none", "/", "", unix.MS_REC|flags, ""); err != nil {
			return fmt.Errorf("cut the mounts off from the machine's: %w", err)
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount a fresh /proc: %w", err)
	}
	for _, dir := range []string{"/run", worldScratch} {
		if err := mountEmpty(dir); err != nil {
			return err
		}
	}
	for _, dir := range worldCopies {
		if err := mountCopy(dir); err != nil {
			return err
		}
	}
	// Of the copy alone, which is over it by now.
	if err := os.RemoveAll(worldAbsent); err != nil {
		return fmt.Errorf("begin without resources: %w", err)
	}
	for _, dir := range worldFolders {
		if err := mountEmpty(dir); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte("node1")); err != nil {
		return fmt.Errorf("name the host: %w", err)
	}
	return loopbackUp()
}

func mountEmpty(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("sluice-lab", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount an empty %s: %w", dir, err)
	}
	return nil
}

// mountCopy puts a copy of a tree over it, of which only what is written takes room.
func mountCopy(dir string) error {
	upper, work := worldScratch+dir, worldScratch+dir+".work"
	for _, d := range []string{upper, work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	options := "lowerdir=" + dir + ",upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("sluice-lab", dir, "overlay", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount a copy of %s over it: %w", dir, err)
	}
	return nil
}

// initWorld is the first process of the namespace: it starts the program itself and
// buries every orphan until the program ends, which then ends the world. The program
// is not the first process because a reaper would take the ends of the commands that
// it waits for.
func initWorld() (exitCode int, err error) {
	cmd, err := sameProgram(worldEnv + "=inside")
	if err != nil {
		return 1, err
	}
	if err := startOnPdeathsigThread(cmd); err != nil {
		return 1, err
	}
	// The first process of a namespace has no default handlers: without this a Ctrl-C
	// or a timeout's signal would be dropped.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 1, fmt.Errorf("wait for the program inside: %w", err)
		case pid != cmd.Process.Pid:
		case status.Signaled():
			return 128 + int(status.Signal()), nil
		case status.Exited():
			return status.ExitStatus(), nil
		}
	}
}
