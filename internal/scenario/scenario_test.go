package scenario

import (
	"fmt"
	"testing"
)

// counter counts what it is told to, and says so.
type counter struct {
	out *Transcript
	n   int
}

func (c *counter) Do(line string, words []string) {
	c.out.Line(line)
	c.n += len(words)
	c.out.Action("counted %d", len(words))
}

func (c *counter) Ask(line string, words []string) {
	c.out.Line(line)
	c.out.Answer("%s:\n%d", words[0], c.n)
}

func TestWhatCameOfALineIsWrittenAnew(t *testing.T) {
	t.Parallel()
	const text = "# A remark.\n\n+ one two\n%s? all\n%s"
	for _, stale := range []string{"", "> another action\n", "> counted 2\n> counted 2\n"} {
		out := &Transcript{}
		play(fmt.Sprintf(text, stale, "= another answer\n"), &counter{out: out}, out)
		if got, want := out.text.String(), fmt.Sprintf(text, "> counted 2\n", "= all:\n= 2\n"); got != want {
			t.Errorf("with %q before, it is\n%swant\n%s", stale, got, want)
		}
	}
}
