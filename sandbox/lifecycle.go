package sandbox

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// endedEarly reports a command's side that a signal ended before it was ready.
type endedEarly struct{ status unix.WaitStatus }

func (e *endedEarly) Error() string {
	return fmt.Sprintf("the command's side ended before the command ran (status %d)", exitStatus(e.status))
}

// run lets the command start, and waits for its end and for the end of
// everything that it started.
func (b *box) run() (exitCode int, err error) {
	if err := b.channel.send(permission{Go: true}); err != nil {
		return exitStatus(b.collect()), fmt.Errorf("start the command: %w", err)
	}
	b.signals.forwardTo(b.process)
	b.channel.limit(0)
	var r reply
	_, failed := b.channel.receive(&r) // closed by a successful execve
	status := b.collect()
	b.signals.forwardTo(-1)
	if failed == nil && r.Error != "" {
		return r.ExitCode, errors.New(r.Error)
	}
	return exitStatus(status), b.killRest()
}

// collect waits for the end of the first process, reaping orphans meanwhile.
func (b *box) collect() unix.WaitStatus {
	for {
		pid, status, err := b.reap(0)
		if pid != 0 && b.pid == 0 {
			return status
		}
		if err != nil {
			return 0
		}
	}
}

// reap collects one child that has ended and forgets its pid, which may be
// another process's by the next moment.
func (b *box) reap(options int) (pid int, status unix.WaitStatus, err error) {
	err = retry(func() (err error) { pid, err = unix.Wait4(-1, &status, options, nil); return err })
	switch {
	case pid <= 0:
	case pid == b.pid:
		b.pid = 0
	case pid == b.watcher.pid:
		b.watcher.pid = 0
	}
	return max(pid, 0), status, err
}

// kill ends the command from another goroutine.
func (b *box) kill() { unix.PidfdSendSignal(b.process, unix.SIGKILL, nil, 0) }

func (b *box) killRest() error {
	left := leftovers{namespace: b.namespace, root: unix.Getpid(), spared: b.watcher.pid}
	return left.kill(func() {
		for pid := 1; pid > 0; {
			pid, _, _ = b.reap(unix.WNOHANG)
		}
	})
}

// close undoes open; what still runs is killed.
func (b *box) close() {
	if b.pid != 0 && b.process >= 0 {
		b.kill()
		b.collect()
	}
	if b.watcher != nil {
		b.watcher.dismiss()
	}
	if b.process >= 0 {
		unix.Close(b.process)
	}
	if b.channel.fd >= 0 {
		b.channel.close()
	}
	b.signals.release()
	runtime.UnlockOSThread()
}

// exitStatus is the exit code that a shell would report.
func exitStatus(s unix.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}
