package kind_test

import (
	"os"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/suite"
	"github.com/sluice-cni/sluice/e2e/kind"
)

func TestMain(m *testing.M) { os.Exit(kind.Main(m)) }

func TestTheSuiteInKind(t *testing.T) {
	c := kind.New(t)
	suite.Act(c.Internet)
	c.Install()
	suite.Run(t, c.Kubeconfig)
}
