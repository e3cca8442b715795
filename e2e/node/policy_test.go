package node

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/selection/policydir"
)

// Files with a mistake change nothing: not while the agent runs, and not when it starts.
// What they say once they are mended reaches running pods.
func TestAPolicyWithAMistakeLeavesTheOldOneInForce(t *testing.T) {
	needsRoot(t)
	n := stage.New(t, stage.Options{})
	compiled := filepath.Join(n.StateDir, "policy.json")
	old, err := policydir.Parse("old", []byte("namespaces: {default: {select: false}}"))
	must(t, err)
	old.Generation = 7
	must(t, old.WriteFile(compiled))
	n.Policy("selection: everybody")
	n.StartHolder()
	n.StartAgent()
	in := func(generation uint64, mistake string) {
		t.Helper()
		if !await.Within(await.Patience, func() bool {
			s, err := n.Status()
			return err == nil && s.Policy == generation && (s.PolicyError != "") == (mistake != "") && strings.Contains(s.PolicyError, mistake)
		}) {
			s, err := n.Status()
			t.Fatalf("generation %d, mistake %q, %v; want %d, %q", s.Policy, s.PolicyError, err, generation, mistake)
		}
	}
	in(7, `policy.yaml:1: selection "everybody": not a known value`)

	p := added(t, n) // passes through, since the old policy says so
	must(t, p.Do(forged, patience))
	n.Internet.Leaked.Store(0) // that one was to go direct

	n.Policy("namespaces: {default: {enforce: [inject]}}")
	in(8, "")
	next, err := n.Pod("")
	must(t, err)
	t.Cleanup(func() { next.Delete() })
	next.Annotations = map[string]string{"sluice.dev/inject": "false"}
	must(t, next.Add()) // which it cannot opt out of
	if !await.Within(await.Patience, func() bool { return isEnrolled(n, next) }) {
		t.Fatalf("state %s", state(n, next))
	}
	governed(t, next)

	n.Policy("namespaces: {default: {enforce: [inyect]}}")
	in(8, "inyect")
	governed(t, next)

	n.Policy("namespaces: {default: {}}") // and now it has opted out
	in(9, "")
	if !await.Within(await.Patience, func() bool { return next.Do(forged, patience) == nil }) {
		t.Errorf("captured still: %s", state(n, next))
	}
}
