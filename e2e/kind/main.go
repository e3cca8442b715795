package kind

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/cluster/apart"
	"github.com/sluice-cni/sluice/e2e/cluster/chart"
	"github.com/sluice-cni/sluice/e2e/cluster/images"
	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	"github.com/sluice-cni/sluice/e2e/kind/nodeimage"
	"github.com/sluice-cni/sluice/e2e/kind/podman"
	node "github.com/sluice-cni/sluice/e2e/node/programs"
)

// WantedEnv must be set for a cluster to be made: `make e2e-kind` does it.
const WantedEnv = "SLUICE_TEST_KIND"

// stockEnv names an image of kind's own to pull in place of the project's.
const stockEnv = "KIND_NODE_IMAGE"

// Files in apart.Folder.
const (
	nodeArchive   = "node.tar"
	appArchive    = "app.tar"
	sluiceArchive = "sluice.tar"
	definitions   = "definitions.yaml" // of Istio's kinds
)

// Main is TestMain. The run fails when it has left something on the machine.
func Main(m *testing.M) int {
	if os.Getenv(WantedEnv) == "" || apart.Folder() != "" {
		return apart.Main(m, WantedEnv, prepare)
	}
	before := traces()
	code := apart.Main(m, WantedEnv, prepare)
	if left := before.changes(traces()); left != "" {
		fmt.Fprintln(os.Stderr, "error: the run has changed the machine:\n"+left)
		return 1
	}
	return code
}

// prepare builds, fetches and writes all that the world needs.
func prepare(dir string) error {
	if err := programs.Build(programs.Hyperkube, programs.KindTool); err != nil {
		return err
	}
	if err := podman.Fetch(); err != nil {
		return err
	}
	if err := nodeImage(filepath.Join(dir, nodeArchive)); err != nil {
		return err
	}
	if err := node.Build(dir, false); err != nil {
		return err
	}
	if err := images.WriteApp(filepath.Join(dir, appArchive)); err != nil {
		return err
	}
	if err := images.WriteSluice(filepath.Join(dir, sluiceArchive), images.Sluice); err != nil {
		return err
	}
	text, err := chart.Definitions()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, definitions), text, 0o644)
}

// nodeImage puts the archive of the node's image at file.
func nodeImage(file string) error {
	stock := os.Getenv(stockEnv)
	if stock != "" {
		return pull(stock, file)
	}
	archive, err := nodeimage.Archive()
	if err != nil {
		return err
	}
	return os.Symlink(archive, file)
}

// nodeTag is the name of the image in the archive.
func nodeTag() string {
	if os.Getenv(stockEnv) != "" {
		return stockTag
	}
	return nodeimage.Tag
}

// stockTag is what a pulled image is called: its own name may be a digest only.
const stockTag = "localhost/kind-node:stock"

// pull fetches an image and saves it to file.
func pull(image, file string) error {
	dir, err := os.MkdirTemp(filepath.Dir(file), "pull-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := podman.New(dir, filepath.Join(dir, "run"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for _, args := range [][]string{{"pull", "--quiet", image}, {"tag", image, stockTag}, {"save", "--quiet", "--output", file, stockTag}} {
		cmd := p.Command(ctx, args...)
		// Podman mounts its storage over itself and leaves it so.
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s=%s: podman %s: %w\n%s(without %s the image is built here)", stockEnv, image, args[0], err, said.String(), stockEnv)
		}
	}
	return nil
}
