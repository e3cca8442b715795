// Package daemon runs the programs of a test's cluster as child processes, each with its
// log in a file, which can be ended and started again as they were.
package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Daemon is a program that runs until it is ended, by the test's end at the latest.
type Daemon struct {
	Name string

	t     testing.TB
	log   string
	path  string
	args  []string
	env   []string
	cmd   *exec.Cmd
	ended chan struct{} // of cmd
}

// Start runs path with args. Its log is logs/NAME.log, of which a failed test prints the
// end. env is what it has in its environment beyond, or instead of, the test's; proxies
// for HTTP are never in it, since all its calls are to this machine.
func Start(t testing.TB, name, logs string, env []string, path string, args ...string) *Daemon {
	t.Helper()
	d := &Daemon{Name: name, t: t, log: filepath.Join(logs, name+".log"), path: path, args: args, env: env}
	t.Cleanup(func() {
		d.Kill()
		if t.Failed() {
			t.Logf("the end of %s's log:\n%s", name, d.LogEnd(4000))
		}
	})
	d.Run()
	return d
}

// Run starts it, also again after its end.
func (d *Daemon) Run() {
	d.t.Helper()
	out, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		d.t.Fatal(err)
	}
	defer out.Close()
	d.cmd = exec.Command(d.path, d.args...)
	d.cmd.Stdout, d.cmd.Stderr = out, out
	d.cmd.Env = Environment(d.env...)
	// A session of its own: a signal to the test's group is not for it.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatalf("start %s: %v", d.Name, err)
	}
	ended := make(chan struct{})
	d.ended = ended
	go func(cmd *exec.Cmd) { cmd.Wait(); close(ended) }(d.cmd)
}

// Environment is the test's with these in it and without proxies for HTTP.
func Environment(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch strings.ToUpper(name) {
		case "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "KUBECONFIG":
		default:
			env = append(env, v)
		}
	}
	return append(env, more...)
}

// Kill ends it at once, as kill -9 does, and waits until it is gone. A second time does
// nothing.
func (d *Daemon) Kill() {
	d.cmd.Process.Kill()
	<-d.ended
}

// Terminate asks it to end and waits until it has; after patience it is killed.
func (d *Daemon) Terminate(patience time.Duration) {
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.ended:
	case <-time.After(patience):
		d.Kill()
	}
}

// Running reports whether it has not ended.
func (d *Daemon) Running() bool {
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// PID is its process.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Log is all that it has logged.
func (d *Daemon) Log() string {
	content, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// LogEnd is the last n bytes of it.
func (d *Daemon) LogEnd(n int) string {
	log := d.Log()
	return log[max(0, len(log)-n):]
}

// Await waits until try succeeds, which is asked again and again; it fails the test after
// patience, or as soon as the daemon has ended.
func (d *Daemon) Await(what string, patience time.Duration, try func() error) {
	d.t.Helper()
	if err := d.Reaches(what, patience, try); err != nil {
		d.t.Fatalf("%v\n%s", err, d.LogEnd(4000))
	}
}

// Reaches is Await with an error in place of the test's end.
func (d *Daemon) Reaches(what string, patience time.Duration, try func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := try()
		switch {
		case err == nil:
			return nil
		case !d.Running():
			return fmt.Errorf("%s: %s has ended (%v); last: %w", what, d.Name, d.cmd.ProcessState, err)
		case time.Now().After(deadline):
			return fmt.Errorf("%s: not within %v: %w", what, patience, err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-d.ended:
		}
	}
}
