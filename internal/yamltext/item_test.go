package yamltext

import (
	"testing"

	"go.yaml.in/yaml/v3"
)

// Each text has the sequence s, of which item 1 is cut out.
func TestAnItemIsCutOutOfItsSequence(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"s:\n- a: 1\n- b: 2\n# of c\n- c: 3\nt: 4\n":       "s:\n- a: 1\n# of c\n- c: 3\nt: 4\n",
		"s:\n  - a: 1\n  - b: |\n      2\n\n      3\nt: 4": "s:\n  - a: 1\nt: 4",
		"s: [{a: 1}, [2], {c: 3}]\n":                       "s: [{a: 1}, {c: 3}]\n",
		`{"s": [{"a": "]"}, {"b": "\"]"}]}`:                `{"s": [{"a": "]"}]}`,
	} {
		var root yaml.Node
		if err := yaml.Unmarshal([]byte(text), &root); err != nil {
			t.Fatal(err)
		}
		start, end := Item([]byte(text), root.Content[0].Content[1], 1)
		if start < 0 || end < start {
			t.Errorf("%q: no clear bounds", text)
			continue
		}
		if got := text[:start] + text[end:]; got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestAnOffsetCountsLettersNotBytes(t *testing.T) {
	t.Parallel()
	text := "a: 1\nä: ö, ü\n"
	if got := Offset([]byte(text), 2, 7); text[got:] != "ü\n" {
		t.Errorf("letter 7 of line 2 is at %d, before %q", got, text[got:])
	}
}
