package programs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sluice-cni/sluice/internal/built"
)

// The container runtimes that Fetch knows: the newest containerd, built from its Go
// module, and Debian 12's, as old nodes have it.
const (
	Containerd2 = "2.4.2"
	Containerd1 = "1.6.20"
)

// Runtime is the folder of a container runtime's programs, and runc, which is the same
// for all.
type Runtime struct{ Version, Folder, Runc string }

// runtimesEnv carries the folders of runtimes, version=folder with commas, and of
// Debian's packages.
const runtimesEnv, debianEnv = "SLUICE_TEST_NODE_RUNTIMES", "SLUICE_TEST_NODE_DEBIAN"

// Fetch builds or fetches the runtimes of these versions. The first time it needs the
// Go module proxy and a Debian mirror, and a few minutes.
func Fetch(versions []string) error {
	if os.Getenv(runtimesEnv) != "" || len(versions) == 0 {
		return nil
	}
	debian, err := Debian("containerd", "runc")
	if err != nil {
		return err
	}
	var all []string
	for _, version := range versions {
		folder := filepath.Join(debian, "usr", "bin")
		switch version {
		case Containerd1:
		case Containerd2:
			if folder, err = buildContainerd(version); err != nil {
				return err
			}
		default:
			return fmt.Errorf("runtime %q: not one of %s and %s", version, Containerd2, Containerd1)
		}
		all = append(all, version+"="+folder)
	}
	os.Setenv(debianEnv, debian)
	return os.Setenv(runtimesEnv, strings.Join(all, ","))
}

// Runtimes are those that Fetch was asked for, in that order.
func Runtimes() (all []Runtime) {
	for each := range strings.SplitSeq(os.Getenv(runtimesEnv), ",") {
		if version, folder, ok := strings.Cut(each, "="); ok {
			all = append(all, Runtime{Version: version, Folder: folder, Runc: filepath.Join(os.Getenv(debianEnv), "usr", "sbin", "runc")})
		}
	}
	return all
}

// buildContainerd builds what tools/containerd names, without the snapshotters that
// need C or kernel modules.
func buildContainerd(version string) (string, error) {
	root, err := built.Root()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "tools", "containerd")
	sum, _ := os.ReadFile(filepath.Join(module, "go.sum")) // none: `go build` will say so
	return built.Once("node", built.Key(version, string(sum)), func(dir string) error {
		fmt.Fprintf(os.Stderr, "building containerd %s; this takes a few minutes, once\n", version)
		const path = "github.com/containerd/containerd/v2"
		return built.Go(module, dir+"/", "tool", "-tags", "no_btrfs no_devmapper no_zfs",
			"-ldflags", "-s -w -X "+path+"/version.Version=v"+version)
	})
}

// Debian is a folder with packages of the host's Debian unpacked: nothing is installed, nothing
// is started, only the libraries that they need are the host's (runc: libseccomp2).
func Debian(names ...string) (string, error) {
	policy, err := exec.Command("apt-cache", append([]string{"show", "--no-all-versions"}, names...)...).Output()
	if err != nil {
		return "", fmt.Errorf("ask apt-cache for %s: %w (needs a Debian system; apt-get update if it knows no packages)", strings.Join(names, ", "), err)
	}
	return built.Once("node", "debian-"+built.Key(string(policy)), func(dir string) error {
		fetched := filepath.Join(dir, "packages")
		if err := os.Mkdir(fetched, 0o777); err != nil {
			return err
		}
		get := exec.Command("apt-get", append([]string{"-qq", "-o", "APT::Sandbox::User=root", "download"}, names...)...)
		get.Dir = fetched
		if out, err := get.CombinedOutput(); err != nil {
			return fmt.Errorf("fetch %s: %w\n%s", strings.Join(names, ", "), err, out)
		}
		archives, err := filepath.Glob(filepath.Join(fetched, "*.deb"))
		if err != nil {
			return err
		}
		for _, archive := range archives {
			if out, err := exec.Command("dpkg", "-x", archive, dir).CombinedOutput(); err != nil {
				return fmt.Errorf("unpack %s: %w\n%s", archive, err, out)
			}
		}
		return os.RemoveAll(fetched)
	})
}
