package sandbox

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo terminal.
func terminal(t *testing.T) (keys *os.File, tty *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	n, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return keys, tty
}

func TestCtrlCReachesTheCommandExactlyOnce(t *testing.T) {
	t.Parallel()
	keys, tty := terminal(t)
	cmd := user{}.shell(`n=0; trap 'n=$((n+1))' INT; test -t 0 && echo terminal
		i=0; while [ $i -lt 20 ]; do sleep 0.05; [ $n -gt 0 ] && i=$((i+1)); done; echo "caught $n"; exit 4`)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	tty.Close()
	screen := bufio.NewScanner(keys)
	for screen.Scan() {
		text := strings.TrimSpace(screen.Text())
		if text == "terminal" {
			keys.Write([]byte{3}) // Ctrl-C
		}
		if _, count, ok := strings.Cut(text, "caught "); ok {
			if count != "1" {
				t.Errorf("the command caught %s signals, want 1", count)
			}
			break
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 4 {
		t.Errorf("ended with %v", err)
	}
}

func TestCtrlZStopsBothAndFgGoesOn(t *testing.T) {
	t.Parallel()
	keys, tty := terminal(t)
	shell := exec.Command("sh", "-i")
	shell.Env = append(os.Environ(), runEnv+"=1", "GORACE=atexit_sleep_ms=0", "PS1=", "ENV=")
	shell.Stdin, shell.Stdout, shell.Stderr = tty, tty, tty
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shell.Process.Kill(); shell.Wait() })
	tty.Close()
	screen := bufio.NewReader(keys)
	for _, turn := range []struct{ typed, shows string }{
		{testBinary() + ` sh -c 'trap "echo I go on" CONT; echo I am; while :; do sleep 0.05; done'` + "\n", "\nI am"},
		{"\x1a", "topped"}, // Ctrl-Z: the shell says Stopped
		{"fg\n", "\nI go on"},
		{"\x03", ""},
		{"echo code $?\n", "\ncode 130"},
	} {
		keys.WriteString(turn.typed)
		if seen, ok := readUntil(screen, turn.shows); !ok {
			t.Fatalf("after %q the terminal shows %q, want %q", turn.typed, seen, turn.shows)
		}
	}
}

// readUntil reads a terminal until a text shows; the test's own time limit bounds it.
func readUntil(r *bufio.Reader, text string) (seen string, ok bool) {
	for !strings.Contains(seen, text) {
		b, err := r.ReadByte()
		if err != nil {
			return seen, false
		}
		if b != '\r' {
			seen += string(b)
		}
	}
	return seen, true
}
