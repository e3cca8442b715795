package node

import (
	"os"
	"testing"

	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
)

// Somebody breaks a file of resources, or the directory is gone; then the agent dies. The
// next one has nothing good to read, and a whole node's egress depends on it: it goes on
// with what was in force.
func TestABrokenFileDoesNotEndTheNodesEgressAtARestart(t *testing.T) {
	n := aNode(t, stage.Options{})
	p := added(t, n)
	governed(t, p)
	whole, err := os.ReadFile(n.ConfigDir + "/resources.yaml")
	must(t, err)

	n.Write("resources.yaml", "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nspec: [")
	n.Write("never.yaml", "spec: {")
	n.Agent().Kill()
	n.StartAgent()
	governed(t, p)
	q := added(t, n)
	governed(t, q)
	s, err := n.Status()
	must(t, err)
	if s.Errors == 0 {
		t.Error("its status says nothing of errors")
	}

	away := n.ConfigDir + ".away"
	must(t, os.Rename(n.ConfigDir, away))
	t.Cleanup(func() { os.RemoveAll(away) })
	n.Agent().Kill()
	n.StartAgent()
	governed(t, p)

	must(t, os.Rename(away, n.ConfigDir))
	must(t, os.Remove(n.ConfigDir+"/never.yaml"))
	n.Write("resources.yaml", string(whole))
	await.True(t, "the errors are gone", func() bool {
		s, err := n.Status()
		return err == nil && s.Errors == 0 && s.Resources > 0
	})
	governed(t, p)
	governed(t, q)
}
