// Package cnitest gives tests the CNI programs as files: sluice-cni built from
// this tree, and the reference plugins and cnitool from tools/cni.
package cnitest

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/sluice-cni/sluice/internal/built"
)

// folderEnv carries the folder into the isolated copy of the test process, which
// has no network to fetch modules from.
const folderEnv = "SLUICE_TEST_CNI_PATH"

// Build returns a folder that serves as CNI_PATH: sluice-cni, ptp, bridge,
// loopback, portmap, host-local, cnitool. Call it before labtest.Main. The
// reference programs are kept in the user's cache folder and built once per
// version; sluice-cni is built each time, which the Go build cache makes cheap.
func Build() (string, error) {
	if dir := os.Getenv(folderEnv); dir != "" {
		return dir, nil
	}
	root, err := built.Root()
	if err != nil {
		return "", err
	}
	tools := filepath.Join(root, "tools", "cni")
	sum, _ := os.ReadFile(filepath.Join(tools, "go.sum")) // none: `go build` will say so
	// The tree's folder is in the key since its own sluice-cni lies beside the others.
	dir, err := built.Once("test", built.Key(root, string(sum)), func(dir string) error {
		return built.Go(tools, dir+"/", "tool")
	})
	if err != nil {
		return "", err
	}
	if err := own(root, dir); err != nil {
		return "", err
	}
	return dir, os.Setenv(folderEnv, dir)
}

// Folder is what Build returned earlier, also in the isolated copy of the process.
func Folder() string { return os.Getenv(folderEnv) }

func own(root, dir string) error {
	tmp := filepath.Join(dir, fmt.Sprintf(".sluice-cni-%d", os.Getpid()))
	defer os.Remove(tmp)
	if err := built.Go(root, tmp, "./cmd/sluice-cni"); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, "sluice-cni"))
}
