package suite_test

import (
	"os"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/suite"
)

func TestAnyCluster(t *testing.T) {
	kubeconfig := os.Getenv("SLUICE_TEST_KUBECONFIG")
	if kubeconfig == "" {
		t.Skip("not run: needs a cluster with sluice in it; SLUICE_TEST_KUBECONFIG names its kubeconfig (`make e2e` runs the same in one of its own)")
	}
	suite.Run(t, kubeconfig)
}
