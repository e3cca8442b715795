package tiers

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// What the scenarios are is in docs/e2e.md, in the same words.
func TestTheDocumentationHasTheScenarios(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/e2e.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	fmt.Fprintln(&table, "| scenario | what a pod does, and what must become of it |\n|---|---|")
	for _, s := range Scenarios {
		fmt.Fprintf(&table, "| %s | %s |\n", s.Name, s.Text)
	}
	if !strings.Contains(string(page), table.String()) {
		t.Errorf("docs/e2e.md must have this table:\n%s", table.String())
	}
}
