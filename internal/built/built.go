// Package built keeps what tests build or fetch in the user's cache folder, once
// per version: programs, packages, images.
package built

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Root is the folder of this module's go.mod.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// Key names a version: the compiler, the architecture and what else the content
// depends on.
func Key(parts ...string) string {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOARCH, strings.Join(parts, "\n"))
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// Find is the folder that Once has made, and whether it is there.
func Find(name, key string) (dir string, there bool) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", false
	}
	dir = filepath.Join(cache, "sluice", name, key)
	_, err = os.Stat(dir)
	return dir, err == nil
}

// Once returns the folder sluice/NAME/KEY of the user's cache. Where there is none
// yet, make fills it: somewhere else first, so that it is there whole or not at all,
// and one process at a time, so that nobody builds what another is building.
func Once(name, key string, make func(dir string) error) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for what tests build: %w", err)
	}
	parent := filepath.Join(cache, "sluice", name)
	dir := filepath.Join(parent, key)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(parent, key+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	tmp, err := os.MkdirTemp(parent, "building-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := make(tmp); err != nil {
		return "", err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	return dir, os.Rename(tmp, dir)
}

// lock waits for the lock at path. A process that dies lets go of it.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// Go builds a package of the module in folder module into output, statically and
// stripped. flags come before the package.
func Go(module, output, target string, flags ...string) error {
	return build(module, output, target, append([]string{"-ldflags", "-s -w"}, flags...), "CGO_ENABLED=0")
}

// Racing is Go with the race detector.
func Racing(module, output, target string) error {
	return build(module, output, target, []string{"-race"}, "CGO_ENABLED=1")
}

func build(module, output, target string, flags []string, cgo string) error {
	args := append([]string{"build", "-trimpath", "-o", output}, flags...)
	cmd := exec.Command("go", append(args, target)...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), cgo, "GOFLAGS=-buildvcs=false", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s in %s: %w\n%s", target, module, err, out)
	}
	return nil
}
