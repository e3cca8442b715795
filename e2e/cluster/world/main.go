package world

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/apart"
	"github.com/sluice-cni/sluice/e2e/cluster/chart"
	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	"github.com/sluice-cni/sluice/e2e/cluster/progress"
	node "github.com/sluice-cni/sluice/e2e/node/programs"
)

// WantedEnv must be set for clusters to be built and run: `make e2e` does it. They take
// minutes, and the first time half an hour.
const WantedEnv = "SLUICE_TEST_CLUSTER"

// Main is TestMain for packages whose tests have clusters: it builds what is missing,
// makes the images, and runs the tests in a world of their own (lab.World). Where no
// clusters are wanted, or this is not root, it runs the tests as they are, and New says
// why there is none. The result is the exit code.
func Main(m *testing.M) int { return apart.Main(m, WantedEnv, prepare) }

// prepare builds all programs and images, which takes the Go module proxy.
func prepare(dir string) error {
	if err := programs.Build(programs.EtcdServer, programs.Hyperkube, programs.DNS, programs.HelmTool); err != nil {
		return err
	}
	if err := node.Build(dir, false); err != nil {
		return err
	}
	if err := node.Fetch([]string{node.Containerd2, node.Containerd1}); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "images"), 0o755); err != nil {
		return err
	}
	if err := writeImages(filepath.Join(dir, "images")); err != nil {
		return err
	}
	if err := chart.Write(filepath.Join(dir, "chart")); err != nil {
		return err
	}
	if err := copyKustomize(filepath.Join(dir, "kustomize")); err != nil {
		return err
	}
	progress.Print("sluice, its chart and the images are made")
	return nil
}
