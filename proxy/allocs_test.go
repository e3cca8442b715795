//go:build !race

package proxy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// Not parallel: allocations of the whole process are counted. Not under the race
// detector, which makes sync.Pool forget on purpose.
func TestForwardingASmallRequestAllocatesNothing(t *testing.T) {
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, answerer(t, smallAnswer))+timeout("a.test", "10s"), discardAccess)
	c := r.dial()
	c.SetDeadline(time.Time{})
	loop(t, c, smallRequest, "world\n", 100)
	if n := testing.AllocsPerRun(20, func() { loop(t, c, smallRequest, "world\n", 100) }); n > 50 {
		t.Errorf("%v allocations for 100 requests (the test itself makes a few)", n)
	}
}

func TestForwardingAllocatesNothingWithMetricsOn(t *testing.T) {
	c := newCounted(t, static("a", "a.test", "HTTP", 80, answerer(t, smallAnswer))+timeout("a.test", "10s"), discardAccess)
	conn := c.dial()
	conn.SetDeadline(time.Time{})
	loop(t, conn, smallRequest, "world\n", 100)
	if n := testing.AllocsPerRun(20, func() { loop(t, conn, smallRequest, "world\n", 100) }); n > 50 {
		t.Errorf("%v allocations for 100 requests (the test itself makes a few)", n)
	}
}

func TestEditingHeadsAllocatesNothing(t *testing.T) {
	r := newRig(t, mesh.RegistryOnly, static("a", "a.example.com", "HTTP", 80, answerer(t, smallAnswer))+rules(`
  - match: [{uri: {prefix: /}}]
    rewrite: {uri: /v2/, authority: inner.example.com}
    headers: {request: {set: {x-a: a}, remove: [user-agent]}, response: {add: {x-b: b}, remove: [date]}}
`), discardAccess)
	c := r.dial()
	c.SetDeadline(time.Time{})
	request := strings.Replace(smallRequest, "a.test", "a.example.com", 1)
	loop(t, c, request, "world\n", 100)
	if n := testing.AllocsPerRun(20, func() { loop(t, c, request, "world\n", 100) }); n > 50 {
		t.Errorf("%v allocations for 100 requests (the test itself makes a few)", n)
	}
}
