package metrics

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tables in docs/observability.md anew")

const page = "../../docs/observability.md"

// between gives what stands between two marks of the page, and the page without it.
func between(t *testing.T, text, name string) (head, body, tail string) {
	t.Helper()
	begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
	head, rest, found := strings.Cut(text, begin)
	body, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no marks of %s", page, name)
	}
	return head + begin, body, end + tail
}

func table(istio bool) string {
	var out strings.Builder
	out.WriteString("\n| metric | kind | what | labels |\n|---|---|---|---|\n")
	for _, m := range Catalogue {
		if strings.HasPrefix(m.Name, "istio_") != istio {
			continue
		}
		labels := "`" + strings.Join(m.Labels, "`, `") + "`"
		switch {
		case len(m.Labels) == 0:
			labels = "–"
		case len(m.Labels) == len(httpLabels):
			labels = "all of those below"
		case len(m.Labels) == len(tcpLabels):
			labels = "all but the last two"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", m.Name, m.Kind, m.Help, labels)
	}
	return out.String() + "\n"
}

func TestTheObservabilityPageListsEveryMetricAndLabel(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for name, want := range map[string]string{"istio metrics": table(true), "own metrics": table(false)} {
		head, body, tail := between(t, text, name)
		if *update {
			text = head + want + tail
		} else if diff := cmp.Diff(want, body); diff != "" {
			t.Errorf("run `go test ./proxy/metrics -run ObservabilityPage -update` (-want +got):\n%s", diff)
		}
	}
	if *update {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, label := range httpLabels {
		if !strings.Contains(text, "| `"+label+"` |") {
			t.Errorf("the label %s has no row of its own", label)
		}
	}
}
