package cluster_test

import (
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/suite"
	"github.com/sluice-cni/sluice/e2e/cluster/world"
)

func TestTheSuiteInAClusterOfItsOwn(t *testing.T) {
	w := world.New(t, world.Options{})
	act(w)
	w.Install()
	suite.Run(t, w.Kubeconfig())
}
