package kind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/e2e/cluster/apart"
	"github.com/sluice-cni/sluice/e2e/cluster/daemon"
	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	"github.com/sluice-cni/sluice/e2e/cluster/world"
	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/e2e/kind/podman"
	"github.com/sluice-cni/sluice/e2e/node/cgroups"
)

// Cluster is one that kind has made, of one node.
type Cluster struct {
	Internet   *egress.Internet
	Kubeconfig string

	t      *testing.T
	dir    string
	podman *podman.Podman
	rooted func(*exec.Cmd) // before a command of podman or kind starts
}

const (
	name = "sluice"
	// nodeName is the node's and its container's.
	nodeName = name + "-control-plane"
)

// New makes a cluster and waits until its node is ready, with kube-proxy, CoreDNS and the
// image images.App. It ends with the test, which fails when something of it stays. There is one at a time.
func New(t *testing.T) *Cluster {
	t.Helper()
	apart.Needed(t, WantedEnv, "make e2e-kind")
	began := time.Now()
	step := func(what string) {
		t.Helper()
		t.Logf("%5.1f s: %s", time.Since(began).Seconds(), what)
	}
	c := &Cluster{t: t, dir: t.TempDir(), Internet: egress.NewInternet(t)}
	c.Kubeconfig = filepath.Join(c.dir, "kubeconfig")
	world.Connect(t, c.Internet)
	var err error
	c.rooted, err = cgroups.Root()
	must(t, err)
	must(t, c.furnish())
	t.Cleanup(func() { must(t, world.UnmountBelow(c.dir)) })
	c.podman, err = podman.New(filepath.Join(c.dir, "podman"), "/run/podman")
	must(t, err)
	_, err = c.do(c.podman.Command(t.Context(), "load", "--quiet", "--input", filepath.Join(apart.Folder(), nodeArchive)))
	must(t, err)
	step("podman has the node's image")
	t.Cleanup(c.remove)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.describe())
		}
	})
	must(t, c.kind("create", "cluster", "--image="+nodeTag(), "--config="+c.config(), "--kubeconfig="+c.Kubeconfig, "--wait=3m", "--retain"))
	step("kind has made the cluster, whose node is ready")
	c.Load(filepath.Join(apart.Folder(), appArchive))
	c.Rollout("kube-system", "daemonset/kube-proxy")
	c.Rollout("kube-system", "deployment/coredns")
	step("kube-proxy and CoreDNS run")
	return c
}

// furnish gives the world what kind and podman expect of a machine.
func (c *Cluster) furnish() error {
	// The world's /etc is a copy.
	if err := errors.Join(os.RemoveAll("/etc/resolv.conf"), os.WriteFile("/etc/resolv.conf", []byte("nameserver "+egress.DNS+"\n"), 0o644)); err != nil {
		return err
	}
	// kind mounts the folder into its nodes; a machine whose kernel has no modules has none.
	if _, err := os.Stat("/lib/modules"); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	lib, err := filepath.EvalSymlinks("/lib")
	if err != nil {
		return err
	}
	upper, work := filepath.Join(c.dir, "lib"), filepath.Join(c.dir, "lib.work")
	if err := errors.Join(os.MkdirAll(filepath.Join(upper, "modules"), 0o755), os.Mkdir(work, 0o755)); err != nil {
		return err
	}
	if err := unix.Mount("sluice-e2e", lib, "overlay", 0, "lowerdir="+lib+",upperdir="+upper+",workdir="+work); err != nil {
		return fmt.Errorf("give the world a /lib/modules: %w", err)
	}
	c.t.Cleanup(func() { must(c.t, unix.Unmount(lib, unix.MNT_DETACH)) })
	return nil
}

// Folders of the node.
const (
	nodeSysctls     = "/sluice-e2e/sysctls"
	nodeAuthorities = "/sluice-e2e/authorities"
)

// config writes what kind is told. The kubelet finds the settings of the whole machine as
// it wants them in files that lie over them, and leaves connection tracking alone. A node
// image of this project's has cgroups without systemd's driver, and a network for pods.
func (c *Cluster) config() string {
	c.t.Helper()
	sysctls, authorities := filepath.Join(c.dir, "sysctls"), filepath.Join(c.dir, "authorities")
	for name, value := range world.Sysctls {
		must(c.t, os.MkdirAll(filepath.Dir(filepath.Join(sysctls, name)), 0o755))
		must(c.t, os.WriteFile(filepath.Join(sysctls, name), []byte(value+"\n"), 0o644))
	}
	must(c.t, os.MkdirAll(authorities, 0o755))
	ca, err := os.ReadFile(c.Internet.CA)
	must(c.t, err)
	must(c.t, os.WriteFile(filepath.Join(authorities, "ca-certificates.crt"), ca, 0o644))
	unit := filepath.Join(c.dir, "sysctls.conf")
	must(c.t, os.WriteFile(unit, []byte(coverSysctls), 0o644))

	mount := func(from, to string) map[string]any {
		return map[string]any{"hostPath": from, "containerPath": to, "readOnly": true}
	}
	own := os.Getenv(stockEnv) == ""
	kubelet := map[string]any{
		"kind": "KubeletConfiguration", "failCgroupV1": false, "oomScoreAdj": 0,
		"evictionHard": map[string]string{"memory.available": "50Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
	}
	if own {
		kubelet["cgroupDriver"] = "cgroupfs"
	}
	proxy := map[string]any{
		"kind":      "KubeProxyConfiguration",
		"conntrack": map[string]any{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s", "tcpBeLiberal": false},
	}
	config := map[string]any{
		"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "name": name,
		"networking": map[string]any{"disableDefaultCNI": own, "kubeProxyMode": "nftables"},
		"nodes": []any{map[string]any{
			"role": "control-plane",
			"extraMounts": []any{
				mount(sysctls, nodeSysctls), mount(authorities, nodeAuthorities),
				mount(unit, "/etc/systemd/system/kubelet.service.d/30-sysctls.conf"),
			},
			"kubeadmConfigPatches": []string{text(c.t, kubelet), text(c.t, proxy)},
		}},
	}
	file := filepath.Join(c.dir, "kind.yaml") // JSON is YAML
	must(c.t, os.WriteFile(file, []byte(text(c.t, config)), 0o644))
	return file
}

const coverSysctls = `[Service]
ExecStartPre=/bin/sh -ec 'cd ` + nodeSysctls + `; find . -type f | while read f; do mountpoint -q /proc/sys/$$f || mount --bind $$f /proc/sys/$$f; done'
`

func text(t *testing.T, v any) string {
	t.Helper()
	out, err := json.Marshal(v)
	must(t, err)
	return string(out)
}

// Load puts the images of an archive into the node.
func (c *Cluster) Load(archive string) {
	c.t.Helper()
	must(c.t, c.kind("load", "image-archive", "--name="+name, archive))
}

// Kubectl runs kubectl, which must succeed.
func (c *Cluster) Kubectl(args ...string) string {
	c.t.Helper()
	cmd := exec.Command(filepath.Join(programs.Kubernetes(), "kubectl"), args...)
	cmd.Env = daemon.Environment("HOME="+c.dir, "KUBECONFIG="+c.Kubeconfig)
	out, err := output(cmd)
	must(c.t, err)
	return out
}

// Rollout waits until a workload has rolled out.
func (c *Cluster) Rollout(namespace, workload string) {
	c.t.Helper()
	c.Kubectl("--namespace="+namespace, "rollout", "status", workload, "--timeout=2m")
}

// remove takes the cluster away and complains of what stays.
func (c *Cluster) remove() {
	ctx := context.Background()
	must(c.t, c.kind("delete", "cluster", "--name="+name, "--kubeconfig="+c.Kubeconfig))
	for _, what := range []string{"ps --all --quiet", "volume ls --quiet"} {
		out, err := c.do(c.podman.Command(ctx, strings.Fields(what)...))
		if err != nil || strings.TrimSpace(out) != "" {
			c.t.Errorf("after kind delete cluster, podman %s says %q, %v", what, out, err)
		}
	}
}

// describe is what a person would look at when the node does not come up.
func (c *Cluster) describe() string {
	var all strings.Builder
	for _, script := range []string{
		"kubectl --kubeconfig=/etc/kubernetes/admin.conf get pods -A -o wide",
		"kubectl --kubeconfig=/etc/kubernetes/admin.conf get events -A --sort-by=.lastTimestamp | tail -30",
		"systemctl --no-pager --failed; ctr -n k8s.io images ls -q; journalctl --no-pager -u load-images -u containerd -u kubelet | tail -40",
	} {
		out, err := c.do(c.podman.Command(context.Background(), "exec", nodeName, "sh", "-c", script))
		fmt.Fprintf(&all, "$ %s\n%s%v\n", script, out, err)
	}
	return all.String()
}

// kind runs kind on podman.
func (c *Cluster) kind(args ...string) error {
	cmd := exec.Command(programs.Kind(), args...)
	cmd.Env = append(daemon.Environment(c.podman.Environment()...), "KIND_EXPERIMENTAL_PROVIDER=podman")
	_, err := c.do(cmd)
	return err
}

// do runs podman, or what runs it.
func (c *Cluster) do(cmd *exec.Cmd) (string, error) {
	c.rooted(cmd)
	return output(cmd)
}

// output is what a program writes; an error has what it writes as errors.
func output(cmd *exec.Cmd) (string, error) {
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, said.String())
	}
	return string(out), err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
