//go:build !race

package proxy_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// Not parallel: allocations of the whole process are counted. Not under the race
// detector, which makes sync.Pool forget on purpose.
func TestForwardingASmallRequestAllocatesNothing(t *testing.T) {
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, answerer(t, smallAnswer))+timeout("a.test", "10s"), discardAccess)
	allocatesNothing(t, r.dial(), smallRequest)
}

func TestForwardingAllocatesNothingWithMetricsOn(t *testing.T) {
	c := newCounted(t, static("a", "a.test", "HTTP", 80, answerer(t, smallAnswer))+timeout("a.test", "10s"), discardAccess)
	allocatesNothing(t, c.dial(), smallRequest)
}

func TestEditingHeadsAllocatesNothing(t *testing.T) {
	r := newRig(t, mesh.RegistryOnly, static("a", "a.example.com", "HTTP", 80, answerer(t, smallAnswer))+rules(`
  - match: [{uri: {prefix: /}}]
    rewrite: {uri: /v2/, authority: inner.example.com}
    headers: {request: {set: {x-a: a}, remove: [user-agent]}, response: {add: {x-b: b}, remove: [date]}}
`), discardAccess)
	allocatesNothing(t, r.dial(), strings.Replace(smallRequest, "a.test", "a.example.com", 1))
}

func TestChoosingAmongNamesAllocatesNothing(t *testing.T) {
	port := netip.MustParseAddrPort(answerer(t, smallAnswer)).Port()
	r := newRig(t, mesh.RegistryOnly, "", discardAccess)
	r.names.Store("one.test", []string{"127.0.0.1"})
	r.names.Store("two.test", []string{"127.0.0.1"})
	r.apply(mesh.RegistryOnly, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test]
  ports: [{number: 80, name: p, protocol: HTTP}]
  resolution: DNS
  endpoints: [{address: one.test, ports: {p: %d}}, {address: two.test, ports: {p: %d}}]
`, port, port))
	allocatesNothing(t, r.dial(), smallRequest)
}

// Not parallel either: what the whole process holds is compared. The figures of five
// hundred are the benchmark's.
func TestAServerMoreCostsAProcessLittle(t *testing.T) {
	n := newNode(t, proxy.Totals{})
	n.add(1, n.names)
	before := measured(t)
	const more = 50
	n.add(more, n.names)
	after := measured(t)
	if each := (after.heap - before.heap) / more; each > 60<<10 {
		t.Errorf("%d bytes each", each)
	}
	if each := (after.goroutines - before.goroutines) / more; each > 12 {
		t.Errorf("%d goroutines each", each)
	}
	n.end()
	if left := measured(t).goroutines; left > before.goroutines {
		t.Errorf("%d goroutines with one Server, %d when all have ended", before.goroutines, left)
	}
}

// allocatesNothing sends the same request again and again.
func allocatesNothing(t *testing.T, c net.Conn, request string) {
	t.Helper()
	c.SetDeadline(time.Time{})
	loop(t, c, request, "world\n", 100)
	if n := testing.AllocsPerRun(20, func() { loop(t, c, request, "world\n", 100) }); n > 50 {
		t.Errorf("%v allocations for 100 requests (the test itself makes a few)", n)
	}
}
