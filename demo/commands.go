package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
)

// outcome is what a typed command did.
type outcome struct {
	output   string // standard output, then standard error where it matters
	exitCode int
	took     time.Duration
	arrived  []arrival // what reached a server meanwhile
}

// commandTimeout ends a command that hangs; the slowest step takes 5 s.
const commandTimeout = 20 * time.Second

// typed runs a line exactly as it is shown, with a shell. `time` in front of it
// is a keyword that small shells lack: the time is taken here.
func (w *world) typed(ctx context.Context, where place, line string) (outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	n := w.node
	if where == inPod {
		n = w.pod.namespace
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", strings.TrimPrefix(line, "time "))
	cmd.Dir, cmd.Env = root, w.environment()
	// A group of its own, so that what the shell started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	before, began := w.upstream.count(), time.Now()
	err := runIn(n, cmd)
	o := outcome{output: out.String(), took: time.Since(began), arrived: w.upstream.since(before)}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		o.exitCode, err = exit.ExitCode(), nil
	}
	if where == onNode || o.exitCode != 0 { // a curl that succeeds writes its progress there
		o.output += complaints.String()
	}
	return o, err
}

// runIn keeps the thread that starts cmd until cmd ends: Pdeathsig needs it.
func runIn(n *lab.Namespace, cmd *exec.Cmd) error { return n.Do(cmd.Run) }

// lines are what the command printed, and in front of it how it ended if not well.
func (o outcome) lines() []string {
	var lines []string
	if text := strings.TrimRight(o.output, "\n"); text != "" {
		lines = strings.Split(text, "\n")
	}
	if o.exitCode != 0 {
		lines = append(lines, fmt.Sprintf("exit code %d", o.exitCode))
	}
	if len(lines) == 0 {
		lines = []string{"(nothing printed)"}
	}
	return lines
}

// real is the time as the shell's keyword prints it.
func (o outcome) real() string {
	return fmt.Sprintf("real    %dm%.3fs", int(o.took.Minutes()), (o.took % time.Minute).Seconds())
}
