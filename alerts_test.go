package sluice_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/agent"
	"github.com/sluice-cni/sluice/proxy/metrics"
)

// The alerts that people copy out of the runbook can fire: their labels are those of the
// metrics. And for each there is something to do.
func TestAlertsOfTheRunbookCanFireAndNameARemedy(t *testing.T) {
	t.Parallel()
	_, block, _ := strings.Cut(pages(t)["docs/runbook.md"], "```yaml\n")
	block, rest, _ := strings.Cut(block, "```")
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr, For string
				Labels           struct{ Severity string }
				Annotations      struct{ Summary string }
			}
		}
	}
	if err := yaml.Unmarshal([]byte(block), &file); err != nil {
		t.Fatal(err)
	}
	labels := map[string][]string{"up": {"job"}}
	for _, m := range append(metrics.Catalogue, agent.Metrics...) {
		labels[m.Name] = m.Labels
	}
	alerts := 0
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			alerts++
			if !strings.Contains(rest, "| `"+rule.Alert+"` | ") {
				t.Errorf("%s: the runbook does not say what to do", rule.Alert)
			}
			if rule.Labels.Severity == "" || rule.Annotations.Summary == "" {
				t.Errorf("%s: has no severity or no summary", rule.Alert)
			}
			known := []string{"instance"} // Prometheus' own
			for _, name := range regexp.MustCompile(`\b(?:sluice_[a-z_]+|up)\b`).FindAllString(rule.Expr, -1) {
				known = append(known, labels[name]...)
			}
			for _, name := range labelsOf(rule.Expr + rule.Annotations.Summary) {
				if !slices.Contains(known, name) {
					t.Errorf("%s: its metrics have no label %s", rule.Alert, name)
				}
			}
		}
	}
	if alerts < 8 {
		t.Errorf("only %d alerts were found: is this test blind?", alerts)
	}
}

// labelsOf are the labels that an expression, or a summary's template, names.
func labelsOf(text string) (names []string) {
	for _, m := range regexp.MustCompile(`\bby \(([^)]*)\)`).FindAllStringSubmatch(text, -1) {
		for name := range strings.SplitSeq(m[1], ",") {
			names = append(names, strings.TrimSpace(name))
		}
	}
	for _, m := range regexp.MustCompile(`([a-z_]+)=~?"|\$labels\.([a-z_]+)`).FindAllStringSubmatch(text, -1) {
		names = append(names, m[1]+m[2])
	}
	return names
}
