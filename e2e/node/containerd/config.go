package containerd

import (
	"strings"
	"text/template"
)

// settings are what a configuration file is made of. All folders are the world's own.
type settings struct{ Root, State, Socket, Runc, PluginDir, ConfDir, Image string }

// What containerd needs beyond folders: restrict_oom_score_adj since lowering it takes
// CAP_SYS_RESOURCE, which root in a container lacks; no AppArmor since it is the
// machine's.
var configurations = map[bool]*template.Template{
	false: template.Must(template.New("version 2, containerd 1").Parse(`version = 2
root = "{{.Root}}/root"
state = "{{.State}}"
temp = "{{.Root}}/tmp"
[grpc]
  address = "{{.Socket}}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{{.Root}}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{{.Image}}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{{.PluginDir}}"
    conf_dir = "{{.ConfDir}}"
    max_conf_num = 1
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      BinaryName = "{{.Runc}}"
`)),
	true: template.Must(template.New("version 3, containerd 2").Parse(`version = 3
root = "{{.Root}}/root"
state = "{{.State}}"
temp = "{{.Root}}/tmp"
[grpc]
  address = "{{.Socket}}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{{.Root}}/opt"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{{.Image}}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{{.PluginDir}}"]
    conf_dir = "{{.ConfDir}}"
    max_conf_num = 1
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
      BinaryName = "{{.Runc}}"
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
`)),
}

// second reports whether a version is of containerd 2, whose configuration files,
// import and CNI differ from those of 1.
func second(version string) bool { return strings.HasPrefix(version, "2.") }
