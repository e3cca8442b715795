package sandbox

import (
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// signals passes on to the command what was sent to this process. The command
// is in the same process group, so what a terminal sends (Ctrl-C, Ctrl-\, Ctrl-Z)
// reaches it by itself and must not come twice; what is sent to this process's pid
// must be passed on.
type signals struct {
	caught  chan os.Signal
	done    sync.WaitGroup
	mu      sync.Mutex
	process int // a pidfd, -1 while there is no command
	waiting []os.Signal
}

// forwarded are the signals whose meaning is the command's. SIGTSTP and SIGCONT
// are also this process's own: it stops and goes on with the command.
func forwarded() []os.Signal {
	list := []os.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGVTALRM, syscall.SIGWINCH,
		syscall.SIGTSTP, syscall.SIGCONT, syscall.SIGPWR,
	}
	for n := 34; n <= 64; n++ { // real-time signals
		list = append(list, syscall.Signal(n))
	}
	var wanted []os.Signal
	for _, s := range list {
		if !signal.Ignored(s) { // under nohup the command ignores it too
			wanted = append(wanted, s)
		}
	}
	return wanted
}

func catchSignals() *signals {
	s := &signals{caught: make(chan os.Signal, 64), process: -1}
	signal.Notify(s.caught, forwarded()...)
	s.done.Go(func() {
		for sig := range s.caught {
			s.handle(sig.(syscall.Signal))
		}
	})
	return s
}

// forwardTo names the command by its pidfd; what was caught before it existed is
// sent to it now.
func (s *signals) forwardTo(process int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = process
	for _, sig := range s.waiting {
		unix.PidfdSendSignal(process, sig.(syscall.Signal), nil, 0)
	}
	s.waiting = nil
}

func (s *signals) release() {
	signal.Stop(s.caught)
	close(s.caught)
	s.done.Wait()
}

func (s *signals) handle(sig syscall.Signal) {
	if !(fromTerminal(sig) && inForeground()) {
		s.send(sig)
	}
	if sig == syscall.SIGTSTP && watched() {
		unix.Kill(unix.Getpid(), syscall.SIGSTOP) // until somebody's SIGCONT
	}
}

func (s *signals) send(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process < 0 {
		s.waiting = append(s.waiting, sig)
		return
	}
	unix.PidfdSendSignal(s.process, sig, nil, 0)
}

func fromTerminal(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGWINCH:
		return true
	}
	return false
}

// inForeground reports whether the terminal's keys reach this process's group.
func inForeground() bool {
	tty, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(tty)
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// watched reports whether a shell watches this process's group and will let it
// go on. The kernel ignores Ctrl-Z in a group that is not ("orphaned"); stopping
// there would be for ever.
func watched() bool {
	group, session := unix.Getpgrp(), of(unix.Getsid, 0)
	for pid := unix.Getppid(); pid > 1; {
		if of(unix.Getsid, pid) != session {
			return false
		}
		if of(unix.Getpgid, pid) != group {
			return true
		}
		parent, ok := parentOf(pid)
		if !ok {
			return false
		}
		pid = parent
	}
	return false
}

// of is get without its error: a process that is gone is in no group.
func of(get func(int) (int, error), pid int) int {
	id, err := get(pid)
	if err != nil {
		return -1
	}
	return id
}
