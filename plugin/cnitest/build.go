// Package cnitest gives tests the CNI programs as files: sluice-cni built from
// this tree, and the reference plugins and cnitool from tools/cni.
package cnitest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
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
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for the CNI programs: %w", err)
	}
	dir := filepath.Join(cache, "sluice", "test", key(root))
	if err := references(root, dir); err != nil {
		return "", err
	}
	if err := own(root, dir); err != nil {
		return "", err
	}
	return dir, os.Setenv(folderEnv, dir)
}

// Folder is what Build returned earlier, also in the isolated copy of the process.
func Folder() string { return os.Getenv(folderEnv) }

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// key keeps trees, tool versions and compilers apart.
func key(root string) string {
	h := sha256.New()
	sum, _ := os.ReadFile(filepath.Join(root, "tools", "cni", "go.sum")) // none: `go build` will say so
	fmt.Fprintln(h, root, runtime.Version(), runtime.GOARCH, string(sum))
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// references builds into a temporary folder that then takes its name, so that
// test binaries running at the same time find all programs or none.
func references(root, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "building-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := goBuild(filepath.Join(root, "tools", "cni"), tmp+"/", "tool"); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, os.ErrExist) {
		if _, statErr := os.Stat(dir); statErr != nil {
			return err
		}
	}
	return nil
}

func own(root, dir string) error {
	tmp := filepath.Join(dir, fmt.Sprintf(".sluice-cni-%d", os.Getpid()))
	defer os.Remove(tmp)
	if err := goBuild(root, tmp, "./cmd/sluice-cni"); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, "sluice-cni"))
}

func goBuild(dir, output, target string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", output, target)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s in %s: %w\n%s", target, dir, err, out)
	}
	return nil
}
