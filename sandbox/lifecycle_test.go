package sandbox

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/await"
)

// started is a program whose command has said that it runs, and where.
type started struct {
	cmd       *exec.Cmd
	command   int // the command's pid
	namespace namespaceID
	out       *bufio.Reader
	in        io.WriteCloser
}

// start runs a line of shell that begins by telling its pid.
func start(t *testing.T, u user, line string) *started {
	t.Helper()
	cmd := u.shell("echo $$; " + line)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	s := &started{cmd: cmd, out: bufio.NewReader(pipe), in: in}
	if s.command, err = strconv.Atoi(s.line(t)); err != nil {
		t.Fatal(err)
	}
	if s.namespace, err = namespaceOf(strconv.Itoa(s.command)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *started) line(t *testing.T) string {
	t.Helper()
	text, err := s.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the command said %q: %v", text, err)
	}
	return strings.TrimSpace(text)
}

func (s *started) inhabited(t *testing.T) bool {
	pids, err := leftovers{namespace: s.namespace}.find()
	if err != nil {
		t.Fatal(err)
	}
	return len(pids) > 0
}

// daemons leaves processes behind: in the background, in a session of its own,
// and orphaned.
const daemons = `sleep 600 & setsid sleep 601 & (setsid sh -c 'trap "" TERM HUP; sleep 602 & sleep 603' &) ; `

func TestNothingIsLeftWhenTheCommandEnds(t *testing.T) {
	t.Parallel()
	eachUser(t, func(t *testing.T, u user) {
		s := start(t, u, daemons+"read go; exit 3")
		s.in.Close()
		io.Copy(io.Discard, s.out) // ends only when the daemons, which hold it, do
		if s.cmd.Wait(); s.cmd.ProcessState.ExitCode() != 3 {
			t.Errorf("ended with %v", s.cmd.ProcessState)
		}
		if s.inhabited(t) {
			t.Error("the namespace still has processes")
		}
	})
}

func TestNothingIsLeftWhenTheCommandIsKilled(t *testing.T) {
	t.Parallel()
	eachUser(t, func(t *testing.T, u user) {
		s := start(t, u, daemons+"echo ready; sleep 604")
		s.line(t)
		if err := unix.Kill(s.command, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, s.out)
		if s.cmd.Wait(); s.cmd.ProcessState.ExitCode() != 137 {
			t.Errorf("ended with %v", s.cmd.ProcessState)
		}
		if s.inhabited(t) {
			t.Error("the namespace still has processes")
		}
	})
}

func TestNothingIsLeftWhenTheProgramIsKilled(t *testing.T) {
	t.Parallel()
	eachUser(t, func(t *testing.T, u user) {
		s := start(t, u, daemons+"echo ready; sleep 605")
		s.line(t)
		s.cmd.Process.Kill()
		s.cmd.Wait()
		await.True(t, "the command and its daemons end", func() bool { return !s.inhabited(t) })
	})
}

func TestSignalsReachTheCommand(t *testing.T) {
	t.Parallel()
	eachUser(t, func(t *testing.T, u user) {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT, syscall.SIGWINCH} {
			s := start(t, u, `trap "echo caught; exit 7" `+strconv.Itoa(int(sig))+`; echo ready; while :; do sleep 0.05; done`)
			s.line(t)
			s.cmd.Process.Signal(sig)
			if got := s.line(t); got != "caught" {
				t.Errorf("%v: the command said %q", sig, got)
			}
			if s.cmd.Wait(); s.cmd.ProcessState.ExitCode() != 7 {
				t.Errorf("%v: ended with %v", sig, s.cmd.ProcessState)
			}
		}
	})
}

func TestUncaughtSignalIsTheExitCode(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		s := start(t, user{}, "echo ready; exec sleep 606")
		s.line(t)
		s.cmd.Process.Signal(sig)
		if s.cmd.Wait(); s.cmd.ProcessState.ExitCode() != 128+int(sig) {
			t.Errorf("%v: ended with %v", sig, s.cmd.ProcessState)
		}
	}
}
