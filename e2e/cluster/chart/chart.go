// Package chart puts the Helm chart together for tests, as `make chart` does.
package chart

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sluice-cni/sluice/internal/built"
)

// Write puts the chart with its definitions into a folder, which it makes.
func Write(dir string) error {
	root, err := built.Root()
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "deploy", "chart", "sluice"))); err != nil {
		return err
	}
	_, err = crds("-o", filepath.Join(dir, "crds"))
	return err
}

// Definitions are those of Istio's kinds that the chart brings (CRDs), as a stream of YAML.
func Definitions() ([]byte, error) { return crds() }

func crds(args ...string) ([]byte, error) {
	var said strings.Builder
	cmd := exec.Command("go", append([]string{"run", "github.com/sluice-cni/sluice/deploy/crds"}, args...)...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("write the definitions of Istio's kinds: %w\n%s", err, said.String())
	}
	return out, nil
}
