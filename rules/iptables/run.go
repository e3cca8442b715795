package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/rules"
)

const (
	// xtablesWait is how long, in seconds, a program waits for the lock that all
	// iptables programs share.
	xtablesWait = "5"
	// runTime bounds a run, that wait included; 10 000 ranges take a second.
	runTime = 30 * time.Second
)

// run runs a program in the calling thread's network namespace and returns what it prints.
// held, if any, is a lock that the program holds as well.
func (h host) run(held *os.File, input, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), runTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(input)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if held != nil {
		cmd.ExtraFiles = []*os.File{held}
	}
	err := h.there(cmd.Run)
	if err == nil {
		return out.String(), nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("did not end within %s", runTime)
	}
	return "", explain(program, input, complaints.String(), err)
}

// failure is a program that ran and failed.
type failure struct {
	program, said string
	err           error
}

func (e *failure) Error() string {
	if e.said == "" {
		return fmt.Sprintf("%s: %v", e.program, e.err)
	}
	return fmt.Sprintf("%s: %s (%v)", e.program, e.said, e.err)
}

func (e *failure) Unwrap() error { return e.err }

// explain says what a program's complaint means here.
func explain(program, input, complaints string, err error) error {
	e := &failure{filepath.Base(program), oneLine(complaints), err}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return e
	}
	lower := strings.ToLower(complaints)
	switch {
	case strings.Contains(lower, "permission denied (you must be root)"), strings.Contains(lower, "operation not permitted"):
		e.err = rules.ErrNotPermitted
	case strings.Contains(lower, "lock file"):
		e.err = errors.New("the lock that iptables programs share must be writable; make /run (or where XTABLES_LOCKFILE points) writable")
	case strings.Contains(lower, "xtables lock"):
		e.err = errors.New("another iptables program holds the lock; try again")
	case strings.Contains(lower, "is incompatible, use 'nft' tool"):
		e.err = errors.New("somebody wrote rules into that table with nft that iptables cannot read; use the nft backend")
	default:
		if line := lineOf(complaints, input); line != "" {
			e.said += ": " + line
		}
	}
	return e
}

// lineOf finds the line of the input that a complaint is about.
func lineOf(complaints, input string) string {
	_, after, found := strings.Cut(complaints, "line ")
	if !found {
		_, after, found = strings.Cut(complaints, "line: ")
	}
	var n int
	if _, err := fmt.Sscanf(after, "%d", &n); !found || err != nil {
		return ""
	}
	lines := strings.Split(input, "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	return lines[n-1]
}

func oneLine(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "Try `") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "; ")
}
