// Package sluicetest gives tests the sluice program as a file, built from this tree.
package sluicetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// noConfigDir is the program's default directory of resources: none, whatever the machine
// has in /etc/sluice. A test has a /run of its own.
const noConfigDir = "/run/sluice-test-has-none"

// fileEnv carries the path into the isolated copy of the test process, which has
// no network to fetch modules from.
const fileEnv = "SLUICE_TEST_PROGRAM"

// Build returns the path of the program. Call it before labtest.Main. The file is
// kept in the user's cache folder; the Go build cache makes building it again cheap. It
// finds no resources that it is not given (--config), and no setting of the caller's.
func Build() (string, error) {
	if path := File(); path != "" {
		return path, nil
	}
	for _, setting := range []string{"SLUICE_CONFIG", "SLUICE_ADMIN", "SLUICE_CREDENTIALS"} {
		if err := os.Unsetenv(setting); err != nil {
			return "", err
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for the program: %w", err)
	}
	dir := filepath.Join(cache, "sluice", "test", "program")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sluice")
	// Another test binary may be doing the same, or running the file.
	tmp := fmt.Sprintf("%s-%d", path, os.Getpid())
	defer os.Remove(tmp)
	if err := build(tmp); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, path); err != nil {
		return "", err
	}
	return path, os.Setenv(fileEnv, path)
}

// File is what Build returned earlier, also in the isolated copy of the process.
func File() string { return os.Getenv(fileEnv) }

func build(output string) error {
	root, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env GOMOD: %w", err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.defaultConfigDir="+noConfigDir, "-o", output, "./cmd/sluice")
	cmd.Dir = filepath.Dir(strings.TrimSpace(string(root)))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build sluice: %w\n%s", err, out)
	}
	return nil
}
