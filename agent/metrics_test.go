package agent

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/proxy/metrics"
)

var update = flag.Bool("update", false, "write the table in docs/observability.md anew")

func TestTheObservabilityPageListsTheAgentsMetrics(t *testing.T) {
	t.Parallel()
	const page, begin, end = "../docs/observability.md", "<!-- agent metrics -->\n", "<!-- end of agent metrics -->\n"
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(data), begin)
	body, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no marks of agent metrics", page)
	}
	var want strings.Builder
	want.WriteString("\n| metric | kind | what | labels |\n|---|---|---|---|\n")
	for _, m := range Metrics {
		labels := "–"
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", m.Name, m.Kind, m.Help, labels)
	}
	want.WriteString("\n")
	if *update {
		if err := os.WriteFile(page, []byte(head+begin+want.String()+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.String(), body); diff != "" {
		t.Errorf("%s is out of date: run `go test ./agent -run Observability -update` (-want +got):\n%s", page, diff)
	}
}

// One name has one meaning: Prometheus would refuse the second.
func TestNoMetricOfTheAgentIsAProxysToo(t *testing.T) {
	t.Parallel()
	for _, m := range Metrics {
		if slices.ContainsFunc(metrics.Catalogue, func(o metrics.Metric) bool { return o.Name == m.Name }) {
			t.Errorf("%s is in proxy/metrics' catalogue too", m.Name)
		}
	}
}
