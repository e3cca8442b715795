package world

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	"github.com/sluice-cni/sluice/e2e/cluster/progress"
	"github.com/sluice-cni/sluice/e2e/node/cgroups"
	node "github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/internal/lab"
)

// WantedEnv must be set for clusters to be built and run: `make e2e` does it. They take
// minutes, and the first time half an hour.
const WantedEnv = "SLUICE_TEST_CLUSTER"

// imagesEnv carries the folder of images into the world.
const imagesEnv = "SLUICE_TEST_CLUSTER_IMAGES"

func wanted() bool { return os.Getenv(WantedEnv) != "" }

// Main is TestMain for packages whose tests have clusters: it builds what is missing,
// makes the images, and runs the tests in a world of their own (lab.World). Where no
// clusters are wanted, or this is not root, it runs the tests as they are, and New says
// why there is none. The result is the exit code.
func Main(m *testing.M) int {
	flag.Parse()
	if !wanted() || os.Geteuid() != 0 || flag.Lookup("test.list").Value.String() != "" {
		return m.Run()
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return code
}

func run(m *testing.M) (code int, err error) {
	if os.Getenv(imagesEnv) == "" {
		dir, err := os.MkdirTemp("", "sluice-cluster-")
		if err != nil {
			return 1, err
		}
		defer os.RemoveAll(dir)
		if err := prepare(dir); err != nil {
			return 1, err
		}
		release, err := cgroups.Reserve()
		if err != nil {
			return 1, err
		}
		defer func() {
			release()
			if left := cgroups.Left(); len(left) > 0 {
				code, err = 1, errors.Join(err, fmt.Errorf("the run has left cgroups: %v", left))
			}
		}()
	}
	inside, code, err := lab.World()
	if inside {
		return m.Run(), nil
	}
	return code, err
}

// prepare builds all programs and images, which takes the Go module proxy.
func prepare(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil { // other users run programs from it too
		return err
	}
	if err := programs.Build(programs.EtcdServer, programs.Hyperkube, programs.DNS, programs.HelmTool); err != nil {
		return err
	}
	if err := node.Build(dir, false); err != nil {
		return err
	}
	if err := node.Fetch([]string{node.Containerd2}); err != nil {
		return err
	}
	images := filepath.Join(dir, "images")
	if err := os.Mkdir(images, 0o755); err != nil {
		return err
	}
	if err := writeImages(images); err != nil {
		return err
	}
	if err := writeChart(filepath.Join(images, "chart")); err != nil {
		return err
	}
	progress.Print("sluice, its chart and the images are made")
	return os.Setenv(imagesEnv, images)
}
