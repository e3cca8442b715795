package node

import (
	"errors"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/load"
	"github.com/sluice-cni/sluice/e2e/node/stage"
)

// With nobody left to hold a pod's sockets its connections are refused; they never go
// direct. Everything is as before once both are there again.
func TestWithHolderAndAgentDeadNothingGoesDirect(t *testing.T) {
	needsRoot(t)
	n := stage.New(t, stage.Options{})
	n.StartHolder()
	n.StartAgent()
	before := baseline(t, n)
	pods := makePods(t, n, 4)
	each(t, pods, 4, (*stage.Pod).Add)
	allGoverned(t, pods)

	n.Agent().Kill()
	n.Holder.Kill()
	each(t, pods, 4, func(p *stage.Pod) error { return wantRefused(p.Do(web, load.Patience)) })
	each(t, pods, 4, func(p *stage.Pod) error { return p.Do(hidden, load.Patience) })
	unleaked(t, n)

	began := time.Now()
	n.StartHolder()
	figure(t, "a holder listens again for %d pods after", time.Since(began), len(pods))
	loads := startLoads(t, pods, load.Spec{PerSecond: 10, Targets: []load.Target{web, hidden}, Count: 20, Patience: patience})
	n.StartAgent()
	figure(t, "holder and agent serve %d pods after", time.Since(began), len(pods))
	if r := stopLoads(t, loads); len(r.Failures) > 0 {
		t.Errorf("connections of %v that waited for the agent failed: %+v", r.Good, r.Failures)
	}
	allGoverned(t, pods)
	each(t, pods, 4, (*stage.Pod).Check)
	each(t, pods, 4, (*stage.Pod).Delete)
	n.GivenBack(before)
}

func wantRefused(err error) error {
	var failed *stage.Failed
	if errors.As(err, &failed) && failed.What == "refused" {
		return nil
	}
	return errors.Join(errors.New("want the connection refused"), err)
}
