package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestNumbersOfOthersAreShownBesideTheProxys(t *testing.T) {
	t.Parallel()
	m := New("test")
	m.More([]Metric{
		{Name: "sluice_test_things", Kind: "gauge", Help: "Things.", Labels: []string{"state"}},
		{Name: "sluice_test_total", Kind: "counter", Help: "All."},
	}, func(show func(string, float64, ...string)) {
		show("sluice_test_things", 2, "new")
		show("sluice_test_things", 3, "old")
		show("sluice_test_total", 5)
	})
	w := httptest.NewRecorder()
	Endpoint{Metrics: m}.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		"# TYPE sluice_test_things gauge\n", `sluice_test_things{state="new"} 2`, `sluice_test_things{state="old"} 3`,
		"# TYPE sluice_test_total counter\n", "sluice_test_total 5\n", "sluice_build_info",
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %q in\n%s", want, w.Body)
		}
	}
}
