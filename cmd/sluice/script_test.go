package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

var update = flag.Bool("update", false, "write the wanted outputs anew")

// TestScripts runs the command lines in testdata/script. A script is one text:
// files ("-- name --" and their content), then "-- commands --" with lines "$ sluice
// …" or "$ cat NAME" or "$ ls", each followed by what it prints: standard output as
// it is, standard error after "! ", an exit code other than 0 in brackets. $DIR is
// a directory of the script's own, $DIR/config the configuration. With $DIR/kubeconfig in
// the text there is an API server for the script alone, which checks nothing; it is what
// "$ kubectl sluice …" speaks to.
func TestScripts(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(text))
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
			}
		})
	}
}

// runScript gives the script back with what its commands print now.
func runScript(t *testing.T, text string) string {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "config"), 0o755); err != nil {
		t.Fatal(err)
	}
	head, commands, found := strings.Cut(text, "-- commands --\n")
	if !found {
		t.Fatal("no commands in the script")
	}
	writeFiles(t, dir, head)
	if strings.Contains(text, "$DIR/kubeconfig") {
		if err := os.Rename(apitest.New(t).Kubeconfig(), filepath.Join(dir, "kubeconfig")); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	out.WriteString(head + "-- commands --\n")
	for line := range strings.Lines(commands) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			out.WriteString(line + runLine(t, dir, strings.TrimSpace(command)))
		} else if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "## ") {
			out.WriteString(line)
		}
	}
	return out.String()
}

func writeFiles(t *testing.T, dir, text string) {
	var name string
	var content strings.Builder
	flush := func() {
		defer content.Reset()
		if name == "" { // what stands above the first file speaks to the reader
			return
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(rest, " --\n") {
			flush()
			name = strings.TrimSuffix(rest, " --\n")
			continue
		}
		content.WriteString(line)
	}
	flush()
}

// runLine runs one command and formats what it printed.
func runLine(t *testing.T, dir, line string) string {
	line, input, _ := strings.Cut(line, " <")
	words := strings.Fields(strings.ReplaceAll(line, "$DIR", dir))
	var in io.Reader = strings.NewReader("")
	if input != "" {
		in = bytes.NewReader(mustRead(t, filepath.Join(dir, input)))
	}
	name := words[0]
	switch name {
	case "cat":
		return indent(string(mustRead(t, filepath.Join(dir, words[1]))), "")
	case "ls":
		return listing(t, filepath.Join(dir, "config"))
	case "sluice":
	case "kubectl":
		words = words[1:]
		name = plugin
	default:
		t.Fatalf("unknown command %q", line)
	}
	args := words[1:]
	switch {
	case name == plugin:
		args = append(args, "--kubeconfig", filepath.Join(dir, "kubeconfig"))
	case !strings.Contains(line, "--config") && !strings.Contains(line, "--kubeconfig"):
		args = append([]string{"--config", filepath.Join(dir, "config")}, args...)
	}
	var stdout, stderr bytes.Buffer
	code := runAs(context.Background(), name, args, streams{in, &stdout, &stderr})
	result := indent(stdout.String(), "") + indent(stderr.String(), "! ")
	if code != 0 {
		result += fmt.Sprintf("[%d]\n", code)
	}
	return strings.ReplaceAll(result, dir, "$DIR")
}

func mustRead(t *testing.T, path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func listing(t *testing.T, dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, e := range entries {
		out.WriteString(e.Name() + "\n")
	}
	return out.String()
}

func indent(text, prefix string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(prefix + strings.TrimRight(line, "\n") + "\n")
	}
	return out.String()
}
