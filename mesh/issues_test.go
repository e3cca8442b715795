package mesh

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/internal/yamltext"
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

// advice is how a message tells its reader what to do.
var advice = regexp.MustCompile(`; |did you mean |there are |: name its file`)

func TestEveryMessageSaysWhatToDo(t *testing.T) {
	t.Parallel()
	inputs, _ := filepath.Glob("testdata/issues/*.yaml")
	for _, input := range inputs {
		data, err := os.ReadFile(input)
		if err != nil {
			t.Fatal(err)
		}
		_, issues := Decode(filepath.Base(input), data, DecodeOptions{})
		for _, i := range issues {
			// What has no effect, or belongs to nobody here, may well stay.
			stays := strings.Contains(i.Message, "has no effect: ") || strings.Contains(i.Message, "not followed: ")
			if !stays && !advice.MatchString(i.Message) {
				t.Errorf("it does not: %s", i)
			}
		}
	}
}

func TestEachOfAHundredBrokenDocumentsIsRefusedInItsPlace(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/issues/hundred.yaml")
	if err != nil {
		t.Fatal(err)
	}
	documents := yamltext.Documents(data)
	if len(documents) != 100 {
		t.Errorf("there are %d documents", len(documents))
	}
	resources, issues := Decode("hundred.yaml", data, DecodeOptions{})
	if len(resources) != 0 {
		t.Errorf("%s can be used", resources[0].Identity())
	}
	for n, doc := range documents {
		first, last := doc.Line, doc.Line+strings.Count(string(data[doc.Start:doc.End]), "\n")
		if !slices.ContainsFunc(issues, func(i Issue) bool { return i.Severity == Error && i.Line >= first && i.Line < last }) {
			t.Errorf("document %d is not refused:\n%s", n+1, data[doc.Start:doc.End])
		}
	}
}
