package nodeimage

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	node "github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/internal/image"
	"github.com/sluice-cni/sluice/plugin/cnitest"
)

// kindFiles are what kind's module has for its base image: the entry point that fits a
// container to systemd and the kubelet, and units.
func kindFiles() (files []image.File, err error) {
	module, err := kindModule()
	if err != nil {
		return nil, err
	}
	from := filepath.Join(module, "images", "base", "files")
	return files, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f := image.File{Path: strings.TrimPrefix(path, from), Content: content}
		switch {
		case strings.Contains(f.Path, "/bin/"): // modules have no executable files
			f.Mode = 0o755
		case f.Path == "/etc/containerd/config.toml", strings.Contains(f.Path, "fuse-overlayfs"), strings.HasPrefix(f.Path, "/LICENSES/"):
			return nil // ours is among settings; the snapshotter is not here
		case f.Path == "/etc/systemd/system/containerd.service":
			f.Content = []byte(unlimited(string(content)))
		}
		files = append(files, f)
		return nil
	})
}

// unlimited is a unit without limits, which only root with CAP_SYS_RESOURCE can raise:
// root in a container has not always.
func unlimited(unit string) string {
	var kept strings.Builder
	for line := range strings.Lines(unit) {
		if !strings.HasPrefix(line, "Limit") && !strings.HasPrefix(line, "TasksMax=") && !strings.HasPrefix(line, "OOMScoreAdjust=") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// programFiles are the node's programs where kind's own image has them.
func programFiles() (files []image.File) {
	add := func(path, from string) { files = append(files, image.File{Path: path, Mode: 0o755, From: from}) }
	add("/usr/bin/hyperkube", filepath.Join(programs.Kubernetes(), "hyperkube"))
	for _, name := range []string{"kubelet", "kubectl"} {
		files = append(files, image.File{Path: "/usr/bin/" + name, Link: "hyperkube"})
	}
	add("/usr/bin/kubeadm", programs.Kubeadm.Path())
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "ctr"} {
		add("/usr/local/bin/"+name, filepath.Join(node.Runtimes()[0].Folder, name))
	}
	for _, name := range []string{"ptp", "host-local", "loopback", "portmap"} {
		add("/opt/cni/bin/"+name, filepath.Join(cnitest.Folder(), name))
	}
	return files
}

// settings are the node's own small files. pause is the name of a sandbox's image.
func settings(pause string) []image.File {
	text := func(path, content string) image.File { return image.File{Path: path, Content: []byte(content)} }
	files := []image.File{
		text("/kind/version", programs.KubernetesVersion),
		text("/etc/containerd/config.toml", strings.Replace(containerdConfig, "PAUSE", pause, 1)),
		text("/etc/cni/net.d/10-podnet.conflist", network),
		text("/etc/systemd/journald.conf.d/10-kind.conf", "[Journal]\nReadKMsg=no\n"),
		text("/etc/systemd/system/load-images.service", loadImages),
		// No pod may ask for an image before it is there: the kubelet would wait long.
		text("/etc/systemd/system/kubelet.service.d/20-images.conf", "[Unit]\nRequires=load-images.service\nAfter=load-images.service\n"),
		{Path: "/etc/systemd/system/systemd-binfmt.service", Link: "/dev/null"},
	}
	for _, unit := range []string{"kubelet", "containerd", "undo-mount-hacks", "load-images"} {
		name := unit + ".service"
		files = append(files, image.File{Path: "/etc/systemd/system/multi-user.target.wants/" + name, Link: "/etc/systemd/system/" + name})
	}
	return files
}

// containerdConfig has cgroups by their folders, which works wherever systemd's own driver
// does not: with version 1 in a container. restrict_oom_score_adj since lowering it takes
// CAP_SYS_RESOURCE.
const containerdConfig = `version = 3
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  discard_unpacked_layers = true
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "PAUSE"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
`

// network gives pods addresses of the range that kubeadm gives the first node.
const network = `{
  "cniVersion": "1.0.0",
  "name": "podnet",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": true,
      "ipMasqBackend": "nftables",
      "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "10.244.0.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

const loadImages = `[Unit]
Description=The images of the cluster
Requires=containerd.service
After=containerd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'for i in ` + imagesDir + `/*.tar; do ctr -n k8s.io images import --local "$i"; done'
[Install]
WantedBy=multi-user.target
`
