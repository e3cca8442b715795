package node

import (
	"errors"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/load"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
)

// failurePolicy says what a pod's connections do while nobody serves them: block waits
// and then cuts them off, bypass lets them go direct once its gate has closed.
func TestWhatBecomesOfConnectionsWhileNobodyServes(t *testing.T) {
	needsRoot(t)
	n := stage.New(t, stage.Options{Holder: []string{"--wait-limit", "4s"}})
	n.StartHolder()
	n.StartAgent()
	before := baseline(t, n)
	pods := makePods(t, n, 2)
	block, bypass := pods[0], pods[1]
	bypass.Annotations = map[string]string{"sluice.dev/failurePolicy": "bypass"}
	each(t, pods, 2, (*stage.Pod).Add)
	await.True(t, "both pods are enrolled", func() bool { return n.Enrolled() == 2 })
	allGoverned(t, pods)

	deaths := []struct {
		who  string
		kill func()
	}{
		{"the agent", func() { n.Agent().Kill() }},
		{"holder and agent", func() { n.Agent().Kill(); n.Holder.Kill() }},
	}
	if !*full {
		deaths = deaths[:1]
	}
	for _, d := range deaths {
		d.kill()
		died := time.Now()
		await.True(t, "a block pod's connections are cut off", func() bool { return cutOff(block.Do(web, load.Patience)) })
		figure(t, "%s killed: a block pod's connections are cut off after", time.Since(died), d.who)
		if *full { // the short form has TestABypassPodGoesDirectWhileNobodyServesIt
			await.True(t, "a bypass pod's go direct", func() bool { return arrives(n, bypass) })
			figure(t, "%s killed: a bypass pod's go direct after", time.Since(died), d.who)
		}
		if arrives(n, block) {
			t.Errorf("%s killed: a connection of a block pod went direct", d.who)
		}
		began := time.Now()
		if !n.Holder.Running() {
			n.StartHolder()
		}
		n.StartAgent()
		await.True(t, "both pods are served again", func() bool { return n.Enrolled() == 2 })
		figure(t, "%s killed: both pods are governed again after", time.Since(began), d.who)
		n.Internet.Leaked.Store(0)
		allGoverned(t, pods)
	}
	each(t, pods, 2, (*stage.Pod).Delete)
	n.GivenBack(before)
}

// cutOff reports whether a connection was ended before it could be used. One that waits
// for an agent is late.
func cutOff(err error) bool {
	var failed *stage.Failed
	return errors.As(err, &failed) && (failed.What == "refused" || failed.What == "reset" || failed.What == "closed")
}

// arrives reports whether a connection that nobody registered gets to its destination.
func arrives(n *stage.Node, p *stage.Pod) bool {
	before := n.Internet.Leaked.Load()
	p.Do(hidden, load.Patience)
	return n.Internet.Leaked.Load() > before
}
