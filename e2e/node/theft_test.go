package node

import (
	"testing"

	"github.com/sluice-cni/sluice/e2e/node/load"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
)

// With holder and agent both dead the pod's ports are free, and a process of the pod may
// take one. It gets what its own pod sends, and no further: nothing goes direct, and the
// next holder and agent move the pod to another port.
func TestAPortStolenWhileNobodyLivesIsGivenUp(t *testing.T) {
	n := aNode(t, stage.Options{})
	p := added(t, n)
	governed(t, p)
	n.Agent().Kill()
	n.Holder.Kill()
	thief, err := p.NS.Listen("tcp4", "127.0.0.1:15001")
	must(t, err)
	defer thief.Close()
	must(t, p.Do(hidden, load.Patience))
	unleaked(t, n)
	n.StartHolder()
	n.StartAgent()
	await.True(t, "the pod is served at another port", func() bool { return isEnrolled(n, p) && p.Do(web, load.Patience) == nil })
	governed(t, p)
	must(t, p.Check())
}
