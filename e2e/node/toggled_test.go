package node

import (
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/load"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
)

// Pods are captured and let go again while they go on connecting, and no connection is
// lost at either: not one whose handshake is under way when the rules come, nor one that
// is made while they go.
func TestCapturingAndLettingGoLoseNoConnection(t *testing.T) {
	needsRoot(t)
	turns, rate := 5, 100.0
	if *full {
		turns, rate = 50, 400
	}
	n := stage.New(t, stage.Options{DrainLimit: 5 * time.Second, Runtime: true})
	n.Policy("namespaces: {default: {select: false}}")
	n.StartHolder()
	n.StartAgent()
	pods := makePods(t, n, 5)
	for _, p := range pods {
		p.Known(true)
	}
	loads := startLoads(t, pods, load.Spec{PerSecond: rate / float64(len(pods)), Targets: []load.Target{web, tls, database, names}})
	for range turns {
		n.Policy("namespaces: {default: {select: true}}")
		await.True(t, "all pods are captured", func() bool { return n.Enrolled() == len(pods) })
		n.Policy("namespaces: {default: {select: false}}")
		await.True(t, "all pods are let go", func() bool { return n.Enrolled() == 0 })
	}
	r := stopLoads(t, loads)
	figure(t, "%d times captured and let go under %.0f new connections a second: %v good, %d failed, the slowest %v", 0,
		turns, rate, r.Good, len(r.Failures), r.Slowest.Round(time.Millisecond))
	for _, f := range r.Failures {
		t.Errorf("a connection was lost: %+v", f)
	}
}
