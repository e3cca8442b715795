package sandbox

import (
	"bufio"
	"fmt"
	"os"
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
