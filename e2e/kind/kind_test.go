package kind_test

import (
	"os"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/suite"
	"github.com/sluice-cni/sluice/e2e/kind"
	"github.com/sluice-cni/sluice/e2e/tiers"
)

func TestMain(m *testing.M) { os.Exit(kind.Main(m)) }

func TestTheSuiteInKind(t *testing.T) {
	c := kind.New(t)
	tiers.Act(c.Internet)
	c.Install()
	suite.Run(t, c.Kubeconfig)
}
