package yamltext

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func mapping(t *testing.T, text string) *yaml.Node {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatal(err)
	}
	return root.Content[0]
}

func TestAKeyIsFoundByAliasesAndMergeKeys(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"k: a":                             "a",
		"x: &x a\nk: *x":                   "a",
		"<<: {k: a}":                       "a",
		"<<: {k: a}\nk: b":                 "b",
		"k: b\n<<: {k: a}":                 "b", // Overridden
		"<<: [{x: 1}, {k: a}, {k: b}]":     "a",
		"x: &x {<<: {k: a}}\n<<: *x":       "a",
		"\"<<\": {k: a}":                   "",
		"x: &k y\n*k : a":                  "",
		"x: &y k\n*y : a":                  "a",
		"<<: &a {<<: [*a, *a, {x: 1}]}":    "",
		"&a <<: &b [*b, *a]":               "",
		"x: &x [k, a]\n<<: *x\n? [k]\n: b": "",
	} {
		got := ""
		if v := Value(mapping(t, text), "k"); v != nil {
			got = v.Value
		}
		if got != want {
			t.Errorf("%q has %q, want %q", text, got, want)
		}
	}
}

func TestWhatKubectlTakesFromAMergeKeyIsTold(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"<<: {a: 1, b: 1}\na: 2":               "",
		"a: 2\n<<: {a: 1, b: 1}\nb: 2":         "a",
		"a: 2\nb: 2\n<<: [{x: 1}, {b: 1}]\n":   "b",
		"a: 2\n<<: {x: {a: 1}}":                "",
		"x: &x {<<: {a: 1}}\na: 2\n<<: [*x]\n": "a",
	} {
		var got []string
		for _, key := range Overridden(mapping(t, text)) {
			got = append(got, key.Value)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %s", text, got, want)
		}
	}
}

// The places of all nodes are those that they are read at, whatever breaks lines.
func TestPlacesAreThoseOfTheParser(t *testing.T) {
	t.Parallel()
	const lines = "# one\nä: [ö, \"ü\", {b: c}] # two\nd:\n  - e\n  # f\n  - g: h\n    i: j\n"
	for _, text := range []string{
		lines, strings.ReplaceAll(lines, "\n", "\r\n"), strings.ReplaceAll(lines, "\n", "\r"), strings.ReplaceAll(lines, "one", "one\u2028# \u0085# two\u2029# "),
		`{"a": ["ä", {"b": "c"}], "d": "e"}`,
	} {
		p := newPlaces([]byte(text))
		var look func(*yaml.Node)
		look = func(n *yaml.Node) {
			if n.Kind == yaml.ScalarNode && !strings.HasPrefix(strings.TrimLeft(text[p.of(n):], `"`), n.Value) {
				t.Errorf("%q: %q is not at byte %d", text, n.Value, p.of(n))
			}
			if p.of(n) != Offset([]byte(text), n.Line, n.Column) {
				t.Errorf("%q: line %d, column %d is at %d, and at %d from the beginning", text, n.Line, n.Column, p.of(n), Offset([]byte(text), n.Line, n.Column))
			}
			for _, c := range n.Content {
				look(c)
			}
		}
		look(mapping(t, text))
		look(mapping(t, text)) // from the last to the first again
	}
}
