package yamltext

import (
	"slices"
	"testing"
)

func TestAStreamIsCutAtItsMarkers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                                     nil,
		"a: 1\n":                               {"a: 1\n"},
		"---\na: 1\n---\nb: 2":                 {"---\na: 1\n", "---\nb: 2"},
		"a: |\n  ---\n--- # next\nb: 2\n":      {"a: |\n  ---\n", "--- # next\nb: 2\n"},
		"%YAML 1.2\n---\na: 1\n...\n---\nb: 2": {"%YAML 1.2\n---\na: 1\n...\n", "---\nb: 2"},
		"\xef\xbb\xbf---\r\na: 1\r\n":          {"---\r\na: 1\r\n"},
		"----\n":                               {"----\n"},
	} {
		var got []string
		for _, d := range Documents([]byte(text)) {
			got = append(got, text[d.Start:d.End])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q has the documents %q, want %q", text, got, want)
		}
	}
}
