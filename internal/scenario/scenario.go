// Package scenario plays the texts by which the pure cores are tested. A line of one
//
//   - lets something happen
//     ? asks
//     > is an action that came of the line above
//     = is an answer to it
//
// and every other is a remark. What begins with > and = is not read: it is written anew,
// and the whole must be what the text says.
package scenario

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the scenarios with what happens")

// Player is a machine in its world, at the beginning of a scenario. Each method is given
// a line and its words after the sign, and writes both the line and what comes of it.
type Player interface {
	Do(line string, words []string)  // "+ …"
	Ask(line string, words []string) // "? …"
}

// Transcript is what happens in a scenario.
type Transcript struct{ text strings.Builder }

// Line writes a line as it is.
func (t *Transcript) Line(line string) { fmt.Fprintln(&t.text, line) }

// Action writes one that came of what happened.
func (t *Transcript) Action(format string, args ...any) {
	t.Line("> " + fmt.Sprintf(format, args...))
}

// Answer writes one, of a line or more.
func (t *Transcript) Answer(format string, args ...any) {
	for _, line := range strings.Split(fmt.Sprintf(format, args...), "\n") {
		t.Line("= " + line)
	}
}

// Run plays testdata/*.txt, each in a test of its own with a Player of its own. The flag
// -update rewrites them with what happens.
func Run(t *testing.T, begin func(t *testing.T, out *Transcript) Player) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios: ", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			out := &Transcript{}
			play(string(text), begin(t, out), out)
			got := out.text.String()
			if *update && !t.Failed() {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("what happens is not what %s says (-said +happens; -update rewrites it):\n%s", file, diff)
			}
		})
	}
}

func play(text string, p Player, out *Transcript) {
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "> "), strings.HasPrefix(line, "= "):
		case strings.HasPrefix(line, "+ "):
			p.Do(line, strings.Fields(line[2:]))
		case strings.HasPrefix(line, "? "):
			p.Ask(line, strings.Fields(line[2:]))
		default:
			out.Line(line)
		}
	}
}
