package plugin_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stepwise as first argument makes the test binary run the rest of its arguments
// with a supervisor that is asked before every step that could matter. The plugin
// needs no switch for that, and no ptrace: the kernel stops its system calls.
const stepwise = "run-stepwise"

// Descriptors that the program under test never gets to by itself.
const (
	readyFD    = 900
	listenerFD = 901
)

// The main goroutine stays on the thread that the process began with, whose id is
// the process's: were another to call exec, the first would be dying while the
// supervisor asks it for the listener. And no goroutine that enters a pod may get that
// thread: it cannot end, and /proc/self/ns/net would be the pod's for good.
func init() { runtime.LockOSThread() }

// execStepwise asks the supervisor before the system calls that change something
// outside the process or ask for it, and becomes the command.
func execStepwise(command []string) { // the filter is this thread's, and exec's
	listener, err := askBefore(
		unix.SYS_SETNS, unix.SYS_SOCKET, unix.SYS_BIND, unix.SYS_IOCTL, unix.SYS_MEMFD_CREATE, unix.SYS_EXIT_GROUP,
		unix.SYS_SENDTO, unix.SYS_SENDMSG)
	if err == nil {
		err = unix.Dup3(listener, listenerFD, 0)
	}
	if err == nil {
		_, err = unix.Write(readyFD, []byte{1})
	}
	if err == nil {
		err = syscall.Exec(command[0], command, os.Environ())
	}
	fmt.Fprintln(os.Stderr, "error:", err)
	os.Exit(99)
}

// askBefore installs a filter for the calls, and for writing to standard output.
func askBefore(calls ...uint32) (listener int, err error) {
	const number, argument0 = 0, 16 // offsets in struct seccomp_data
	ask := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF}
	filter := []unix.SockFilter{load(number), unlessEqual(unix.SYS_WRITE, 3), load(argument0), unlessEqual(1, 1), ask, load(number)}
	for _, call := range calls {
		filter = append(filter, unlessEqual(call, 1), ask)
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return 0, errno
	}
	return int(fd), nil
}

// notification and response are the kernel's struct seccomp_notif and its answer.
type notification struct {
	ID         uint64
	PID, Flags uint32
	Call, Arch int32
	IP         uint64
	Args       [6]uint64
}

type response struct {
	ID    uint64
	Val   int64
	Error int32
	Flags uint32
}

// decision is what a supervisor answers when it is asked before a step.
type decision uint8

const (
	goOn decision = iota
	hold          // the step never comes to an end
	kill
)

// killedBefore runs the call and kills it before its step-th step, counting from
// 0; finished reports that it ended before it came to that.
func (c call) killedBefore(t testing.TB, step int) (finished bool) {
	t.Helper()
	steps := 0
	out := c.supervised(t, func(int32) decision {
		steps++
		if steps > step {
			return kill
		}
		return goOn
	})
	finished = steps <= step
	if finished && out.code != 0 || !finished && out.code != -1 {
		t.Fatalf("step %d: finished %v, %+v", step, finished, out)
	}
	return finished
}

// supervised runs the call with a supervisor, which is told the system call's
// number before each step.
func (c call) supervised(t testing.TB, decide func(call int32) decision) outcome {
	t.Helper()
	ready, tell, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	ended := make(chan error, 1)
	c.started = func(p *os.Process) {
		tell.Close()
		go func() { ended <- supervise(p, ready, decide) }()
	}
	c.prepare = func(cmd *exec.Cmd) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		// A shell moves the descriptor to a number that is out of the way.
		cmd.Args = []string{"bash", "-c", fmt.Sprintf(`exec %d>&3 3>&-; exec "$0" "$@"`, readyFD), self, stepwise, cmd.Path}
		cmd.Path = "/bin/bash"
		cmd.ExtraFiles = []*os.File{tell}
	}
	out := c.run(t)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return out
}

func supervise(p *os.Process, ready *os.File, decide func(int32) decision) error {
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("the program did not start: %w", err)
	}
	pidfd, err := unix.PidfdOpen(p.Pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	listener, err := unix.PidfdGetfd(pidfd, listenerFD, 0)
	if err != nil {
		return fmt.Errorf("take over the listener: %w", err)
	}
	defer unix.Close(listener)
	for {
		var asked notification
		if err := nextStep(listener, &asked); err != nil || asked.ID == 0 {
			return err
		}
		switch decide(asked.Call) {
		case kill:
			return p.Kill()
		case hold:
			continue
		}
		answer := response{ID: asked.ID, Flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if err := control(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&answer)); err != nil && err != unix.ENOENT {
			return fmt.Errorf("let a step go on: %w", err)
		}
	}
}

// nextStep waits for a step; a zero ID says that there will be none.
func nextStep(listener int, asked *notification) error {
	for {
		fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, 20_000); err == unix.EINTR {
			continue
		} else if err != nil {
			return err
		}
		switch {
		case fds[0].Revents&unix.POLLIN == 0 && fds[0].Revents != 0:
			return nil // every process with the filter is gone
		case fds[0].Revents == 0:
			return fmt.Errorf("neither a step nor an end in 20 s")
		}
		*asked = notification{}
		err := control(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(asked))
		if err == unix.EINTR || err == unix.ENOENT { // gone between poll and now
			continue
		}
		return err
	}
}

func control(fd int, request uint, argument unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(argument))
	if errno != 0 {
		return errno
	}
	return nil
}
