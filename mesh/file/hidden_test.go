package file

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/manifest"
)

const broken = "spec: {hosts: [x.com}\n"

// What a file with a broken part is meant to define is not written beside it, or it
// would be there twice once the file is corrected.
func TestNothingIsWrittenThatAnUnreadablePartMayHold(t *testing.T) {
	t.Parallel()
	wide := ""
	for _, unit := range utf16.Encode([]rune("\ufeff" + entryYAML("a"))) {
		wide += string([]byte{byte(unit), byte(unit >> 8)})
	}
	for name, c := range map[string]struct {
		text, object string
		refused      string // by these words, "" not at all
	}{
		"its document is broken":          {entryYAML("a") + broken, "a", "x.yaml:"},
		"another document is broken":      {entryYAML("b") + broken + "---\n" + entryYAML("a"), "a", ""},
		"its document, not the first":     {entryYAML("b") + "---\n" + entryYAML("a") + broken, "a", "not YAML"},
		"the name is nowhere":             {entryYAML("b") + broken, "a", ""},
		"the name is part of another":     {entryYAML("a-b.a") + broken, "a", ""},
		"the name is between quotes":      {"metadata: {name: \"a\"", "a", "x.yaml:1"},
		"the file is not UTF-8":           {"# caf\xe9\n" + entryYAML("a"), "a", "not UTF-8"},
		"the file is UTF-16":              {wide, "a", "not UTF-8"},
		"the text is YAML and no object":  {"metadata name a", "a", "not an object"},
		"the file is broken, name at end": {"}\nname: a", "a", "x.yaml:1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := manifest.Stream{Name: "in", Data: []byte(entryYAML(c.object))}
			for verb, do := range map[string]func(Directory) error{
				"create": func(d Directory) error { _, _, err := d.Create(in); return err },
				"apply":  func(d Directory) error { _, _, err := d.Apply(in); return err },
				"delete": func(d Directory) error { _, err := d.Delete([]mesh.Identity{id(c.object)}); return err },
			} {
				dir := t.TempDir()
				write(t, dir, "x.yaml", c.text)
				err := do(Directory{Path: dir})
				var hidden *HiddenError
				switch refused := errors.As(err, &hidden); {
				case refused != (c.refused != ""):
					t.Errorf("%s: %v", verb, err)
				case refused && (!strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "ServiceEntry default/a: ")):
					t.Errorf("%s: %v does not say %q", verb, err, c.refused)
				case refused && (files(t, dir) != "x.yaml" || read(t, dir, "x.yaml") != c.text):
					t.Errorf("%s: refused, and written: %s", verb, files(t, dir))
				}
			}
		})
	}
}

func TestDeleteTellsWhatIsNotThereFromWhatMayBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "x.yaml", entryYAML("a")+"---\n"+entryYAML("b")+broken)
	changes, err := Directory{Path: dir}.Delete([]mesh.Identity{id("a"), id("b"), id("c")})
	var missing *manifest.NotFoundError
	var hidden *HiddenError
	if len(changes) != 1 || !errors.As(err, &missing) || len(missing.Objects) != 1 || missing.Objects[0] != id("c") ||
		!errors.As(err, &hidden) || len(hidden.Objects) != 1 || hidden.Objects[0] != id("b") {
		t.Errorf("%v, %v", changes, err)
	}
}
