// Package podman gives kind a podman that is not installed: Debian's packages, unpacked,
// with settings of their own, inside a world (lab.World). It leaves networks to CNI's
// plugins and cgroups to runc.
package podman

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	node "github.com/sluice-cni/sluice/e2e/node/programs"
)

// folderEnv carries the folder of the unpacked packages into the world.
const folderEnv = "SLUICE_TEST_PODMAN"

// Fetch unpacks podman, once. It takes a Debian mirror.
func Fetch() error {
	dir, err := node.Debian("podman", "conmon", "runc", "golang-github-containers-common", "golang-github-containers-image",
		"containernetworking-plugins", "libgpgme11", "libsubid4", "libyajl2")
	if err != nil {
		return err
	}
	return os.Setenv(folderEnv, dir)
}

// Podman has its containers and images in a folder, which must not be on an overlay, and
// what does not outlive a boot in another.
type Podman struct{ storage, run, settings string }

// New writes settings of its own into dir/settings, for containers and images in
// dir/storage. run is for sockets and locks.
func New(dir, run string) (*Podman, error) {
	p := &Podman{storage: filepath.Join(dir, "storage"), run: run, settings: filepath.Join(dir, "settings")}
	packages := os.Getenv(folderEnv)
	if packages == "" {
		return nil, fmt.Errorf("podman's packages have not been fetched")
	}
	for _, folder := range []string{p.storage, p.run} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
	}
	for name, content := range map[string]string{
		"containers.conf":                strings.NewReplacer("PACKAGES", packages, "RUN", p.run).Replace(containersConf),
		"storage.conf":                   fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", p.storage, p.run),
		"registries.conf":                "unqualified-search-registries = []\n",
		".config/containers/policy.json": `{"default": [{"type": "insecureAcceptAnything"}]}`,
	} {
		file := filepath.Join(p.settings, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	return p, nil
}

const containersConf = `[containers]
seccomp_profile = "PACKAGES/usr/share/containers/seccomp.json"
[network]
network_backend = "cni"
cni_plugin_dirs = ["PACKAGES/usr/lib/cni"]
[engine]
tmp_dir = "RUN/libpod"
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
conmon_path = ["PACKAGES/usr/bin/conmon"]
[engine.runtimes]
runc = ["PACKAGES/usr/sbin/runc"]
`

// Environment is what a program needs that runs podman, beside its own.
func (p *Podman) Environment() []string {
	packages := os.Getenv(folderEnv)
	return []string{
		"PATH=" + filepath.Join(packages, "usr", "bin") + ":" + filepath.Join(packages, "usr", "sbin") + ":" + os.Getenv("PATH"),
		"LD_LIBRARY_PATH=" + library(packages),
		"CONTAINERS_CONF=" + filepath.Join(p.settings, "containers.conf"),
		"CONTAINERS_STORAGE_CONF=" + filepath.Join(p.settings, "storage.conf"),
		"CONTAINERS_REGISTRIES_CONF=" + filepath.Join(p.settings, "registries.conf"),
		"HOME=" + p.settings, // no setting of this machine's user counts
	}
}

// library is the folder of the packages' libraries: usr/lib/x86_64-linux-gnu.
func library(packages string) string {
	all, _ := filepath.Glob(filepath.Join(packages, "usr", "lib", "*-linux-gnu"))
	return strings.Join(all, ":")
}

// Command is podman with arguments, ready to run.
func (p *Podman) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(os.Getenv(folderEnv), "usr", "bin", "podman"), args...)
	cmd.Env = append(os.Environ(), p.Environment()...)
	return cmd
}
