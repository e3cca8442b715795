package cluster_test

import (
	"flag"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/suite"
	"github.com/sluice-cni/sluice/e2e/cluster/world"
	"github.com/sluice-cni/sluice/e2e/tiers"
)

var shell = flag.Bool("shell", false, "open a shell in the suite's cluster before its scenarios (make cluster)")

func TestTheSuiteInAClusterOfItsOwn(t *testing.T) {
	w := world.New(t, world.Options{})
	tiers.Act(w.Internet)
	w.Install()
	if *shell {
		w.Shell()
	}
	suite.Run(t, w.Kubeconfig())
}
