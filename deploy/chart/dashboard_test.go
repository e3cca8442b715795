package chart_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The dashboard asks only for what docs/observability.md says there is, and no two panels
// lie over each other.
func TestTheDashboardAsksForMetricsThatThereAre(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("sluice/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	documented, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			ID          int
			Title, Type string
			Description string
			GridPos     struct{ H, W, X, Y int }
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	taken := map[[2]int]string{}
	metric := regexp.MustCompile(`\b(sluice|istio|process)_[a-z_]+`)
	asked := 0
	for _, p := range d.Panels {
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("panels %q and %q lie over each other", other, p.Title)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && p.Description == "" {
			t.Errorf("panel %q says nothing of what it shows", p.Title)
		}
		for _, target := range p.Targets {
			for _, name := range metric.FindAllString(target.Expr, -1) {
				asked++
				if name = strings.TrimSuffix(name, "_bucket"); strings.HasPrefix(name, "process_") {
					continue // those every Go program has
				}
				if !strings.Contains(string(documented), "`"+name+"`") {
					t.Errorf("panel %q asks for %s, which docs/observability.md does not have", p.Title, name)
				}
			}
		}
	}
	if asked < 20 {
		t.Errorf("it asks for %d metrics only", asked)
	}
}
