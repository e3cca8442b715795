package rules_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/rules"
)

const document = "../docs/configuration.md"

// The reference cannot lie: its tables are printed from the code, and its examples
// are read by it.
func TestDocumentationSaysWhatTheCodeDoes(t *testing.T) {
	data, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	got := string(data)
	want := between(t, between(t, got, "fields", fieldTable()), "precedence", precedenceTable())
	if *update {
		if err := os.WriteFile(document, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		got = want
	}
	if got != want {
		t.Errorf("%s is out of date: run `go test ./rules -run Documentation -update`", document)
	}
	for _, example := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(got, -1) {
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(example[1]), &object); err != nil {
			t.Errorf("%v in %s", err, example[1])
			continue
		}
		delete(object, "type")
		if _, _, err := rules.Decode(object); err != nil {
			t.Errorf("the example %s: %v", example[1], err)
		}
	}
}

func TestEveryFieldOfConfigIsDescribedOnce(t *testing.T) {
	var names []string
	for _, f := range rules.Fields() {
		names = append(names, strings.ToLower(f.Name))
		if f.Meaning == "" || f.Example == "" || !strings.HasSuffix(f.Meaning, ".") {
			t.Errorf("%s: %+v", f.Name, f)
		}
	}
	all := strings.Join(names, " ") + " "
	fields := slices.DeleteFunc(reflect.VisibleFields(reflect.TypeFor[rules.Config]()), func(f reflect.StructField) bool {
		return f.Name == "AutoRanges" // a value of includeIPRanges
	})
	for _, f := range fields {
		if strings.Count(all, strings.ToLower(f.Name)+" ") != 1 {
			t.Errorf("Config.%s has no entry in Fields", f.Name)
		}
	}
	if len(fields) != len(names) {
		t.Errorf("%d fields, %d entries", len(fields), len(names))
	}
}

// between replaces what stands between a marker and its end.
func between(t *testing.T, text, marker, with string) string {
	t.Helper()
	begin := strings.Index(text, "<!-- "+marker+":")
	end := strings.Index(text, "<!-- /"+marker+" -->")
	if begin < 0 || end < begin {
		t.Fatalf("no marker %q", marker)
	}
	begin += strings.Index(text[begin:], "\n") + 1
	return text[:begin] + with + text[end:]
}

func fieldTable() string {
	out := "| field | default | example | annotation | meaning |\n|---|---|---|---|---|\n"
	for _, f := range rules.Fields() {
		byDefault := "empty"
		if f.Default != "" {
			byDefault = "`" + f.Default + "`"
		}
		out += fmt.Sprintf("| `%s` | %s | `%s` | `%s` | %s |\n", f.Name, byDefault, f.Example, f.Annotation, f.Meaning)
	}
	return out
}

func precedenceTable() string {
	out := "| # | line | which flows | verdict |\n|---|---|---|---|\n"
	for i, line := range rules.Precedence() {
		out += fmt.Sprintf("| %d | %s | %s | %s |\n", i+1, line.Name, line.Matches, line.Verdict)
	}
	return out
}
