package mesh

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const page = "../docs/istio-compatibility.md"

// sentence makes a message's words one.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

// fieldsOf writes a row's fields; what holds for a policy holds for each port's.
func fieldsOf(row Row) string {
	var out []string
	for _, field := range row.Fields {
		field = strings.Replace(strings.Replace(field, policies, "trafficPolicy.", 1), wholePolicies, "trafficPolicy.", 1)
		if row.Value != "" && field != statusAddresses {
			field += ": " + row.Value
		}
		out = append(out, "`"+field+"`")
	}
	return strings.Join(out, ", ")
}

func remarks(row Row) string {
	instead := row.Instead
	if row.Stance == Refused && row.Value == "" {
		instead = "remove it"
		if row.Instead != "" {
			instead += " and " + row.Instead
		}
	}
	says := row.Says
	if row.Stance == Refused && says == "" {
		says = "not in this version"
	}
	return strings.TrimSpace(sentence(says) + " " + sentence(instead))
}

func rowTable(kind string) string {
	var out strings.Builder
	out.WriteString("\n| field | need | | remarks |\n|---|---|---|---|\n")
	for _, row := range Rows {
		if row.Kind == kind {
			fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", fieldsOf(row), row.Priority, row.Stance, remarks(row))
		}
	}
	return out.String() + "\n"
}

func kindTable() string {
	var out strings.Builder
	out.WriteString("\n| kind | why |\n|---|---|\n")
	for _, kind := range slices.Sorted(maps.Keys(foreignKinds)) {
		fmt.Fprintf(&out, "| `%s` (`%s`) | %s |\n", kind, foreignKinds[kind].group, sentence(foreignKinds[kind].why))
	}
	return out.String() + "\n"
}

func TestTheCompatibilityPageSaysWhatTheRowsSay(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	tables := map[string]string{"other kinds": kindTable()}
	for _, kind := range Kinds {
		tables[kind] = rowTable(kind)
	}
	for name, want := range tables {
		begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
		head, rest, found := strings.Cut(text, begin)
		body, tail, ended := strings.Cut(rest, end)
		if !found || !ended {
			t.Fatalf("%s has no marks of %s", page, name)
		}
		if *update {
			text = head + begin + want + end + tail
		} else if diff := cmp.Diff(want, body); diff != "" {
			t.Errorf("run `go test ./mesh -run CompatibilityPage -update` (-want +got):\n%s", diff)
		}
	}
	if *update {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
