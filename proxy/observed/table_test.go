package observed

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/mesh"
)

func TestARowForEachDestination(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	table := newTable(func() time.Time { now = now.Add(time.Second); return now })
	at := netip.MustParseAddr("203.0.113.9")
	note := func(namespace, name, addr string, port uint16, p mesh.Protocol) {
		table.Note(namespace, name, netip.MustParseAddr(addr), port, p)
	}
	note("shop", "api.example.com", "203.0.113.1", 443, mesh.TLS)
	note("shop", "api.example.com", "203.0.113.2", 443, mesh.TLS) // the same, elsewhere
	note("shop", "", "::ffff:203.0.113.9", 5432, mesh.TCP)
	note("shop", "[2001:db8::1]", "203.0.113.9", 80, mesh.HTTP)
	note("other", "api.example.com", "203.0.113.1", 443, mesh.TLS)
	var got []string
	rows, dropped := table.Rows()
	for _, r := range rows {
		got = append(got, fmt.Sprint(r.Namespace, " ", r.Name, " ", r.Address.IsValid(), " ", r.Port, " ", r.Protocol, " ", r.Count, " ", r.Last.Sub(r.First)))
	}
	want := []string{"shop api.example.com false 443 TLS 2 1s", "other api.example.com false 443 TLS 1 0s", "shop  true 5432 TCP 1 0s", "shop  true 80 HTTP 1 0s"}
	if diff := cmp.Diff(want, got); diff != "" || dropped != 0 {
		t.Errorf("%d dropped; -want +got\n%s", dropped, diff)
	}
	if rows[2].Address != at || !strings.Contains(rows[2].Register, "addresses: [203.0.113.9]") || !strings.Contains(rows[0].Register, "hosts: [api.example.com]") {
		t.Errorf("%+v", rows)
	}
}

func TestAFloodFillsItsNamespacesPartOnly(t *testing.T) {
	t.Parallel()
	table := New()
	for i := range 10_000 {
		table.Note("flood", fmt.Sprint("n", i, ".example.com"), netip.Addr{}, 80, mesh.HTTP)
	}
	table.Note("flood", strings.Repeat("x", 1<<20), netip.Addr{}, 80, mesh.HTTP)
	for i := range 2000 {
		table.Note(fmt.Sprint("ns", i%4), fmt.Sprint("n", i, ".example.com"), netip.Addr{}, 80, mesh.HTTP)
	}
	rows, dropped := table.Rows()
	if len(rows) != MaxOfNamespace+2000 || dropped != 10_001-MaxOfNamespace {
		t.Errorf("%d rows, %d dropped", len(rows), dropped)
	}
	for i := range 10_000 {
		table.Note(fmt.Sprint("ns", i), "a.example.com", netip.Addr{}, 80, mesh.HTTP)
	}
	if rows, _ := table.Rows(); len(rows) != MaxRows {
		t.Errorf("%d rows", len(rows))
	}
}

func TestATableAnswersOverHTTP(t *testing.T) {
	t.Parallel()
	table := New()
	table.Note("shop", "a\"\xff.com", netip.Addr{}, 80, mesh.HTTP)
	w := httptest.NewRecorder()
	table.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	var a Answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || len(a.Rows) != 1 || a.Rows[0].Count != 1 || a.Rows[0].Register != "" {
		t.Errorf("%v: %s", err, w.Body)
	}
	w = httptest.NewRecorder()
	New().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if got := strings.TrimSpace(w.Body.String()); got != `{"rows":[],"dropped":0}` {
		t.Error(got)
	}
}
