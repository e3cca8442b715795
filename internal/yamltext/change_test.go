package yamltext

import (
	"testing"

	"go.yaml.in/yaml/v3"
)

// Each text gets a: {b: "1", l: [{name: x, v: 2}]}.
func TestAMappingIsMergedIntoAText(t *testing.T) {
	t.Parallel()
	var value yaml.Node
	if err := yaml.Unmarshal([]byte("a:\n  b: \"1\"\n  l:\n  - name: x\n    v: 2\n"), &value); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"z: 1 # last\n":                                    "a:\n  b: \"1\"\n  l:\n  - name: x\n    v: 2\nz: 1 # last\n",
		"# of a\na: {}\n":                                  "# of a\na: {b: \"1\", l: [{name: x, v: 2}]}\n",
		"a:\nz: 1\n":                                       "a: {b: \"1\", l: [{name: x, v: 2}]}\nz: 1\n",
		"\"a\" : ~\n":                                      "\"a\" : {b: \"1\", l: [{name: x, v: 2}]}\n",
		"a:\n    b: old # why\n    l: []\n":                "a:\n    b: \"1\" # why\n    l: [{name: x, v: 2}]\n",
		"a: {b: 'it''s', l: [{name: y}]}":                  "a: {b: \"1\", l: [{name: x, v: 2}, {name: y}]}",
		"{\"a\": {\"b\": \"1\", \"l\": []}}":               "{\"a\": {\"b\": \"1\", \"l\": [{\"name\": \"x\", \"v\": 2}]}}",
		"s:\n- a:\n    c: d\n":                             "a:\n  b: \"1\"\n  l:\n  - name: x\n    v: 2\ns:\n- a:\n    c: d\n",
		"a:\n  b: \"1\"\n  l:\n    # y's\n    - name: y\n": "a:\n  b: \"1\"\n  l:\n    - name: x\n      v: 2\n    # y's\n    - name: y\n",
		"a:\n  b: \"1\"\n  l:\n  - v: 1\n    name: x\n\n  # y's\n  - name: y\n": "a:\n  b: \"1\"\n  l:\n  - name: x\n    v: 2\n\n  # y's\n  - name: y\n",
		"a: {b: \"1\", l: [{name: x, v: 2}]}\n":                                 "a: {b: \"1\", l: [{name: x, v: 2}]}\n",
	} {
		var root yaml.Node
		if err := yaml.Unmarshal([]byte(text), &root); err != nil {
			t.Fatal(err)
		}
		c := Change([]byte(text))
		if err := c.Merge(root.Content[0], value.Content[0]); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if got := string(c.Text()); got != want || c.None() != (text == want) {
			t.Errorf("%q became\n%s\nwant\n%s", text, got, want)
		}
	}
}

func TestWhatCannotBeMergedIsAnError(t *testing.T) {
	t.Parallel()
	var value yaml.Node
	if err := yaml.Unmarshal([]byte("a:\n  b: \"1\"\n"), &value); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"x: &x {c: d}\na: *x\n":        "a is a YAML anchor or alias, and would change elsewhere too; write out what it stands for",
		"a: 1\n":                       "a has another shape than it must have; correct it",
		"a:\n  b: |\n    1\n":          "a.b is written in a way that cannot be replaced, such as over several lines; write it in one",
		"x: &x {b: c}\na:\n  <<: *x\n": "a has a YAML merge key (<<), which may bring the same; write out what it stands for",
		"a: !!map {}\n":                "a is empty in a spelling that cannot be filled; remove it",
	} {
		var root yaml.Node
		if err := yaml.Unmarshal([]byte(text), &root); err != nil {
			t.Fatal(err)
		}
		if err := Change([]byte(text)).Merge(root.Content[0], value.Content[0]); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
