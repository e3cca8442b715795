package mesh

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the wanted texts anew")

// golden compares with a file, or writes it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

func TestEveryIssueOfAFileIsToldAtOnceWithItsPlace(t *testing.T) {
	t.Parallel()
	inputs, err := filepath.Glob("testdata/issues/*.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no inputs: %v", err)
	}
	for _, input := range inputs {
		t.Run(filepath.Base(input), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(input)
			if err != nil {
				t.Fatal(err)
			}
			resources, issues := Decode(filepath.Base(input), data, DecodeOptions{})
			var b strings.Builder
			b.WriteString(issues.String() + "\n")
			for _, r := range resources {
				b.WriteString("usable: " + r.Identity().String() + "\n")
			}
			golden(t, strings.TrimSuffix(input, ".yaml")+".txt", b.String())
		})
	}
}

func TestEveryIssueHasALineAndAnObject(t *testing.T) {
	t.Parallel()
	inputs, _ := filepath.Glob("testdata/issues/*.yaml")
	for _, input := range inputs {
		data, _ := os.ReadFile(input)
		lines := strings.Count(string(data), "\n")
		_, issues := Decode(input, data, DecodeOptions{})
		for _, i := range issues {
			if i.Line < 1 || i.Line > lines+1 || i.Column < 1 || i.Message == "" {
				t.Errorf("%s has no place in %d lines", i, lines)
			}
		}
	}
}
