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

func TestAFullTableHasRoomForEveryNamespace(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	table := newTable(func() time.Time { now = now.Add(time.Second); return now })
	asked := int64(0)
	ask := func(namespace string, names int) {
		for i := range names {
			asked++
			table.Note(namespace, fmt.Sprint("n", i, ".example.com"), netip.Addr{}, 80, mesh.HTTP)
		}
	}
	for i := range 4 { // which is all
		ask(fmt.Sprint("flood", i), 2*MaxOfNamespace)
	}
	ask("flood0", 10) // those are asked for lately
	for i := range 12 {
		ask(fmt.Sprint("quiet", i), 10)
	}
	ask("loud", 2*MaxOfNamespace)
	rows, dropped := table.Rows()
	of, counted, lately := map[string]int{}, int64(0), 0
	for _, r := range rows {
		of[r.Namespace]++
		counted += r.Count
		if r.Namespace == "flood0" && r.Count == 2 {
			lately++
		}
	}
	const part = MaxRows / 17
	for i := range 12 {
		if n := of[fmt.Sprint("quiet", i)]; n != 10 {
			t.Errorf("%d rows of a namespace that asked for 10", n)
		}
	}
	for i := range 4 {
		if n := of[fmt.Sprint("flood", i)]; n < part {
			t.Errorf("%d rows are left of one that floods, of %d", n, part)
		}
	}
	if of["loud"] != part || lately != 10 || len(rows) != MaxRows || counted+dropped != asked {
		t.Errorf("%d rows of the last to flood, of %d; %d of 10 that were asked for lately; %d rows; %d counted and %d dropped of %d",
			of["loud"], part, lately, len(rows), counted, dropped, asked)
	}
}

// An agent lives for months, on a node where namespaces come and go.
func TestNamespacesThatAreGoneMakeRoom(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	table := newTable(func() time.Time { now = now.Add(time.Second); return now })
	const namespaces = 2 * MaxRows
	for i := range namespaces {
		table.Note(fmt.Sprint("n", i), "example.com", netip.Addr{}, 80, mesh.HTTP)
	}
	rows, dropped := table.Rows()
	for _, r := range rows {
		var n int
		if fmt.Sscan(r.Namespace[1:], &n); n < namespaces-MaxRows {
			t.Fatalf("%s is there still", r.Namespace)
		}
	}
	if len(rows) != MaxRows || len(table.of) != MaxRows || dropped != namespaces-MaxRows {
		t.Errorf("%d rows, %d namespaces, %d dropped", len(rows), len(table.of), dropped)
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
