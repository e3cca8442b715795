package cluster_test

import (
	"flag"
	"os"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/suite"
	"github.com/sluice-cni/sluice/e2e/cluster/world"
	"github.com/sluice-cni/sluice/e2e/tiers"
)

var shell = flag.Bool("shell", false, "open a shell in the suite's cluster in place of its scenarios (make cluster)")

func TestTheSuiteInAClusterOfItsOwn(t *testing.T) {
	if *shell {
		t.Cleanup(func() { saysNothing(t) }) // the last of all
	}
	w := world.New(t, world.Options{})
	tiers.Act(w.Internet)
	w.Install()
	if *shell {
		w.Shell()
		return
	}
	suite.Run(t, w.Kubeconfig())
}

// saysNothing leaves out the word PASS, which package testing prints after a test that
// somebody typed in.
func saysNothing(t *testing.T) {
	if t.Failed() {
		return
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout = null
}
