package policydir

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/selection"
)

// The document has every field, and each of its examples is taken.
func TestTheDocumentHasEveryField(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/selection.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	r := reader{policy: &selection.Policy{}, at: map[string]position{}}
	var of selection.NamespacePolicy
	for heading, known := range map[string]setters{"For the node": r.nodeFields(), "For a namespace": r.namespaceFields(&of)} {
		_, section, found := strings.Cut(text, "\n### "+heading+"\n")
		if !found {
			t.Fatalf("no section %q", heading)
		}
		section, _, _ = strings.Cut(section, "\n#")
		var names []string
		for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| [^|]* \\| `([^|]+)` \\|").FindAllStringSubmatch(section, -1) {
			names = append(names, row[1])
			example := row[1] + ": " + row[2]
			if heading == "For a namespace" {
				example = "namespaces: {shop: {" + example + "}}"
			}
			if _, err := Parse("example", []byte(example)); err != nil {
				t.Errorf("%s: %v", row[0], err)
			}
		}
		slices.Sort(names)
		if want := slices.Sorted(maps.Keys(known)); !slices.Equal(names, want) {
			t.Errorf("%s: %v, want %v", heading, names, want)
		}
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(examples) == 0 {
		t.Error("no example")
	}
	for _, example := range examples {
		if _, err := Parse("example", []byte(example[1])); err != nil {
			t.Errorf("%v in %s", err, example[1])
		}
	}
}
