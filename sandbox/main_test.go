package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/cmd/sluice/sluicetest"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// The test binary is also the program under test: with runEnv it runs its
// arguments in a sandbox, with probeEnv it is a command that tries something.
const (
	runEnv   = "SLUICE_SANDBOX_RUN"
	probeEnv = "SLUICE_SANDBOX_PROBE"
)

func TestMain(m *testing.M) {
	Init()
	switch {
	case os.Getenv(runEnv) != "":
		os.Unsetenv(runEnv)
		code, err := Run(Command{Argv: os.Args[1:], Serve: tellDestinations})
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
		}
		os.Exit(code)
	case os.Getenv(probeEnv) != "":
		os.Exit(probe(os.Getenv(probeEnv)))
	}
	// Whoever runs the tests by nohup has SIGHUP ignored, which no shell can trap any more;
	// what this process catches is no longer ignored in those that it starts.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	if _, err := sluicetest.Build(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	ignoreNothing()
	labtest.Main(m)
}

// ignoreNothing has the programs that tests start begin with every signal's default. What
// is ignored would be so for them and their commands too, as it is to be, and a test that
// waits for a signal's effect would wait for ever: under nohup, or in a shell's background.
func ignoreNothing() {
	for n := syscall.Signal(1); n < 32; n++ {
		if signal.Ignored(n) {
			signal.Notify(make(chan os.Signal, 1), n) // caught, which ends with execve; still without effect here
		}
	}
}

// tellDestinations answers every captured connection with "tcp" and every query
// with its own bytes, so that the command sees who answered.
func tellDestinations(ctx context.Context, s Sockets) error {
	defer context.AfterFunc(ctx, s.close)()
	var all sync.WaitGroup
	for _, l := range s.TCP {
		all.Go(func() { greet(l, "tcp") })
	}
	for _, l := range s.DNSStreams {
		all.Go(func() { greet(l, "dns") })
	}
	for _, c := range s.DNSPackets {
		all.Go(func() {
			buf := make([]byte, 512)
			for {
				n, from, err := c.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				c.WriteToUDPAddrPort(append([]byte("dns "), buf[:n]...), from)
			}
		})
	}
	all.Wait()
	return nil
}

func greet(l *net.TCPListener, text string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.WriteString(c, text)
		c.Close()
	}
}

// user is whom a test runs the program as.
type user struct {
	name string
	sys  *syscall.SysProcAttr
}

// eachUser runs a test as root and as an ordinary user.
func eachUser(t *testing.T, test func(t *testing.T, u user)) {
	t.Run("root", func(t *testing.T) {
		t.Parallel()
		test(t, user{name: "root"})
	})
	t.Run("ordinary user", func(t *testing.T) {
		labtest.NeedsOtherUsers(t)
		t.Parallel()
		test(t, user{"ordinary user", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinary, Gid: ordinary}}})
	})
}

const ordinary = 64321

// program is the test binary, running argv in a sandbox as the user. The path
// works for users who may not enter the folder where it lies.
func (u user) program(argv ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", argv...)
	cmd.Env = append(os.Environ(), runEnv+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Dir = "/"
	if u.sys != nil {
		sys := *u.sys
		cmd.SysProcAttr = &sys
	}
	return cmd
}

// shell is program for a line of shell, in which $PROBE runs a probe.
func (u user) shell(line string) *exec.Cmd { return u.program("sh", "-c", line) }

// probing is program for a probe.
func (u user) probing(name string) *exec.Cmd {
	cmd := u.program("/proc/self/exe")
	cmd.Env = append(cmd.Env, probeEnv+"="+name)
	return cmd
}

// result runs a program to its end.
func result(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	late := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer late.Stop()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), complaints.String(), cmd.ProcessState.ExitCode()
}
