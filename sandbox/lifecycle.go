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
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case pid == b.pid:
			b.pid = 0
			return status
		case b.watcher != nil && pid == b.watcher.pid:
			b.watcher.pid = 0
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0
		}
	}
}

// kill ends the command from another goroutine.
func (b *box) kill() { unix.PidfdSendSignal(b.process, unix.SIGKILL, nil, 0) }

func (b *box) killRest() error {
	left := leftovers{namespace: b.namespace, root: unix.Getpid(), spared: b.watcher.pid}
	return left.kill(reap)
}

// reap collects the children that have ended.
func reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if pid <= 0 && !errors.Is(err, unix.EINTR) {
			return
		}
	}
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
	if b.channel.fd > 0 {
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
