package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// sluice runs a command line and gives what it printed, standard error last.
func sluice(args ...string) (output string, code int) {
	var stdout, stderr bytes.Buffer
	code = run(context.Background(), args, streams{strings.NewReader(""), &stdout, &stderr})
	return stdout.String() + stderr.String(), code
}

// everyCommand calls f with the path of each command, the root's first.
func everyCommand(f func(path []string, c *cobra.Command)) {
	var walk func(path []string, c *cobra.Command)
	walk = func(path []string, c *cobra.Command) {
		f(path, c)
		for _, sub := range c.Commands() {
			walk(append(path[:len(path):len(path)], sub.Name()), sub)
		}
	}
	walk(nil, newRootCommand())
}

func TestHelpOfEveryCommandIsPlain(t *testing.T) {
	t.Parallel()
	everyCommand(func(path []string, c *cobra.Command) {
		got, code := sluice(append(path, "--help")...)
		_, usage, _ := strings.Cut(got, "Usage:\n")
		lines, _, _ := strings.Cut(usage, "\n\n")
		if code != 0 || strings.Count(lines, "\n") > 0 || !strings.HasPrefix(lines, "  sluice") {
			t.Errorf("%v: want one usage line and exit code 0, got %d and %q", path, code, lines)
		}
		if strings.Contains(got, "[=") || c.Short == "" {
			t.Errorf("%v: the help is not plain:\n%s", path, got)
		}
		if topic, code := sluice(append([]string{"help"}, path...)...); code != 0 || topic != got {
			t.Errorf("help %v: exit code %d, and differs from --help:\n%s", path, code, topic)
		}
	})
}

func TestEveryCommandIsListed(t *testing.T) {
	t.Parallel()
	got, _ := sluice("--help")
	for _, c := range newRootCommand().Commands() {
		if c.Hidden || !strings.Contains(got, "\n  "+c.Name()+" ") {
			t.Errorf("%s is not in the help:\n%s", c.Name(), got)
		}
	}
}

func TestVersionIsAFlagToo(t *testing.T) {
	t.Parallel()
	flag, code1 := sluice("--version")
	command, code2 := sluice("version")
	if flag != command || code1+code2 != 0 || !strings.HasPrefix(flag, "sluice ") {
		t.Errorf("--version: %q (%d), version: %q (%d)", flag, code1, command, code2)
	}
}

func TestANamespaceMayStandBeforeTheCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got, code := sluice("-n", "prod", "--config", dir, "get"); code != 0 || got != "no resources found in namespace prod of directory "+dir+"; -A shows every one\n" {
		t.Errorf("exit code %d: %s", code, got)
	}
}

func TestCompletionScriptsAreWritten(t *testing.T) {
	t.Parallel()
	for _, shell := range shells {
		if got, code := sluice("completion", shell); code != 0 || !strings.Contains(got, "sluice") {
			t.Errorf("%s: exit code %d, %d bytes", shell, code, len(got))
		}
	}
}
