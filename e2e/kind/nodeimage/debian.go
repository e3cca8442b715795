package nodeimage

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sluice-cni/sluice/internal/built"
)

// packages are what kind's own base image installs, less what only other storage and
// snapshotters need, and runc.
var packages = []string{
	"systemd", "systemd-sysv", "dbus", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount", "kmod",
	"procps", "hostname", "libseccomp2", "runc", "bash", "ca-certificates", "curl", "jq", "socat",
}

// unwanted are files of those packages that a container's systemd must not have: services
// for consoles, devices and disks, as kind's own base image removes them too.
var unwanted = []string{
	"/etc/systemd/system/*.wants/*",
	"/usr/lib/systemd/system/multi-user.target.wants/*", "/usr/lib/systemd/system/local-fs.target.wants/*",
	"/usr/lib/systemd/system/basic.target.wants/*", "/usr/lib/systemd/system/sockets.target.wants/*udev*",
	"/usr/lib/systemd/system/sockets.target.wants/*initctl*", "/usr/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
}

// debianLayer is a file with the packages, installed, of this machine's release of Debian.
func debianLayer() (file string, err error) {
	release, err := codename()
	if err != nil {
		return "", err
	}
	key := built.Key(release, strings.Join(packages, " "), strings.Join(unwanted, " "))
	dir, err := built.Once("kind", "debian-"+key, func(dir string) error {
		fmt.Fprintln(os.Stderr, "installing Debian's packages for the node image, once (a minute)")
		args := []string{"--quiet", "--mode=root", "--variant=minbase", "--include=" + strings.Join(packages, ","), "--format=tar"}
		for _, path := range []string{"doc", "man", "locale", "info"} {
			args = append(args, "--dpkgopt=path-exclude=/usr/share/"+path+"/*")
		}
		for _, pattern := range unwanted {
			args = append(args, `--customize-hook=rm -f "$1"`+pattern)
		}
		install := exec.Command("mmdebstrap", append(args, release, filepath.Join(dir, layerName))...)
		// What it mounts is nobody else's, and gone when it is.
		install.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		if out, err := install.CombinedOutput(); err != nil {
			return fmt.Errorf("mmdebstrap %s: %w\n%s", release, err, out)
		}
		return nil
	})
	return filepath.Join(dir, layerName), err
}

const layerName = "debian.tar"

// codename is the name of this machine's release of Debian: bookworm.
func codename() (string, error) {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, found := strings.CutPrefix(lines.Text(), "VERSION_CODENAME="); found {
			return strings.Trim(name, `"`), nil
		}
	}
	return "", fmt.Errorf("/etc/os-release: has no VERSION_CODENAME; the node image is made of Debian's packages")
}
