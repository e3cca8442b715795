package world

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/agent/cri"
	"github.com/sluice-cni/sluice/e2e/cluster/apart"
	"github.com/sluice-cni/sluice/e2e/cluster/apiserver"
	"github.com/sluice-cni/sluice/e2e/cluster/daemon"
	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	"github.com/sluice-cni/sluice/e2e/cluster/progress"
	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/e2e/node/cgroups"
	"github.com/sluice-cni/sluice/e2e/node/containerd"
	node "github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/kubeapi"
)

// Options are of a world.
type Options struct {
	// ProxyMode is kube-proxy's: nftables, which is the default, or iptables.
	ProxyMode string
	// Containerd is the container runtime's version, of those that e2e/node/programs has;
	// default the newest.
	Containerd string
}

// World is a cluster of one node that is ready.
type World struct {
	*apiserver.Server
	Internet   *egress.Internet
	Containerd *containerd.Containerd

	t       *testing.T
	dir     string // of the node's files that outlive a boot
	daemons map[string]*daemon.Daemon
}

// runtimeRun is where the container runtime has its socket, as most nodes do.
const runtimeRun = "/run/containerd"

// RuntimeSocket is the container runtime's.
const RuntimeSocket = runtimeRun + "/containerd.sock"

// patience bounds every wait: seconds, where the machine is idle.
const patience = 2 * time.Minute

// New makes a cluster and waits until its node is ready, and pods on it have DNS. It ends
// with the test. Only one is at a time.
func New(t *testing.T, o Options) *World {
	t.Helper()
	apart.Needed(t, WantedEnv, "make e2e")
	began := time.Now()
	// Not t.TempDir: the kubelet has sockets there, and the name of a socket has 107 bytes.
	dir, err := os.MkdirTemp("", "cluster-")
	must(t, err)
	t.Cleanup(func() {
		must(t, os.RemoveAll(dir))
		progress.Step(t, "the cluster is down")
	})
	w := &World{t: t, dir: dir, daemons: map[string]*daemon.Daemon{}, Internet: egress.NewInternet(t)}
	t.Cleanup(w.clean)
	Connect(t, w.Internet)
	coverSysctls(t, w.dir)
	network(t)
	must(t, cgroups.Make())

	w.Server = apiserver.Start(t, w.dir, apiserver.Options{
		Address: NodeIP, Port: 6443, Flags: serverFlags,
		Users: []string{userManager, userScheduler, userProxy, userNode + " system:nodes"},
	})
	progress.Step(t, "etcd and kube-apiserver are ready")
	w.run("kube-controller-manager", managerFlags(w.Server)...)
	w.run("kube-scheduler", "--kubeconfig="+w.KubeconfigOf(userScheduler), "--leader-elect=false", "--secure-port=0")
	w.Apply(dnsManifest)
	w.Containerd = containerd.StartAt(t, runtimeOf(t, o), runtimeRun, BinDir, ConfDir, cgroups.Parent())
	all, err := archives()
	must(t, err)
	for _, archive := range all {
		must(t, w.Containerd.Import(archive))
	}
	progress.Step(t, "containerd has its images")
	file(t, w.dir, "resolv.conf", "nameserver %s\n", egress.DNS)
	w.run("kube-proxy", "--config="+file(t, w.dir, "proxy.yaml", proxyConfig, cmp.Or(o.ProxyMode, "nftables"), w.KubeconfigOf(userProxy)))
	must(t, os.MkdirAll(w.manifests(), 0o755))
	w.run("kubelet", "--kubeconfig="+w.KubeconfigOf(userNode), "--root-dir="+filepath.Join(w.dir, "kubelet"), "--cert-dir="+filepath.Join(w.dir, "kubelet-certificates"),
		"--hostname-override="+NodeName, "--node-ip="+NodeIP,
		"--config="+file(t, w.dir, "kubelet.yaml", kubeletConfig, RuntimeSocket, cgroups.Parent(), w.dir))
	w.AwaitNode()
	progress.Step(t, "the node is ready")
	w.Rollout("kube-system", "deployment/coredns")
	progress.Step(t, "CoreDNS answers: the cluster is up, %.1f s from nothing", time.Since(began).Seconds())
	return w
}

func runtimeOf(t *testing.T, o Options) node.Runtime {
	t.Helper()
	version := cmp.Or(o.Containerd, node.Containerd2)
	for _, r := range node.Runtimes() {
		if r.Version == version {
			return r
		}
	}
	t.Fatalf("no containerd %s", version)
	panic("unreachable")
}

// clean takes away what programs that have ended leave behind, so that the next world
// begins with nothing: the kubelet's mounts, kube-proxy's rules, sluice's state.
func (w *World) clean() {
	if err := UnmountBelow(w.dir); err != nil {
		w.t.Error(err)
	}
	if err := flushRules(); err != nil {
		w.t.Error(err)
	}
	for _, dir := range []string{"/run/sluice", "/var/lib/sluice", "/var/log/pods", "/var/log/containers"} {
		empty(dir)
	}
}

// run starts a part of Kubernetes.
func (w *World) run(name string, args ...string) {
	w.t.Helper()
	w.daemons[name] = daemon.Start(w.t, name, w.dir, []string{"HOME=" + w.dir}, filepath.Join(programs.Kubernetes(), name), args...)
}

// AwaitNode waits until the node is Ready and default's service account is there, without
// which no pod is admitted.
func (w *World) AwaitNode() {
	w.t.Helper()
	w.Eventually("the node is ready", func() error {
		ready, err := w.Kubectl("get", "node", NodeName, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
		if err == nil && ready != "True" {
			err = fmt.Errorf("condition Ready is %q", ready)
		}
		if err != nil {
			return err
		}
		_, err = w.Kubectl("-n", "default", "get", "serviceaccount", "default")
		return err
	})
}

// Static gives the kubelet a pod of its own to run, which takes no API server; its name is
// NAME-node1 there. An empty manifest ends it.
func (w *World) Static(name, manifest string) {
	w.t.Helper()
	path := filepath.Join(w.manifests(), name+".yaml")
	if manifest == "" {
		must(w.t, os.Remove(path))
		return
	}
	// The kubelet reads what has no such name at once, whole or not.
	file(w.t, w.manifests(), "."+name, "%s", manifest)
	must(w.t, os.Rename(filepath.Join(w.manifests(), "."+name), path))
}

func (w *World) manifests() string { return filepath.Join(w.dir, "manifests") }

// Pods are the pods of a namespace that the container runtime has running now.
func (w *World) Pods(namespace string) (all []cri.Sandbox) {
	w.t.Helper()
	client := cri.New(RuntimeSocket)
	defer client.Close()
	w.Eventually("the container runtime tells of every pod", func() (err error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		all, err = client.Sandboxes(ctx)
		return err
	})
	return slices.DeleteFunc(all, func(s cri.Sandbox) bool { return s.Pod.Namespace != namespace })
}

// Rollout waits until a workload has rolled out, and fails the test with what is known of
// its pods when it does not.
func (w *World) Rollout(namespace, workload string) {
	w.t.Helper()
	if _, err := w.Kubectl("-n", namespace, "rollout", "status", workload, "--timeout="+patience.String()); err != nil {
		w.t.Fatalf("%v\n%s", err, w.Describe(namespace))
	}
}

// Describe is what a person would look at when something in a namespace does not run.
func (w *World) Describe(namespace string) string {
	pods, err := w.Kubectl("-n", namespace, "describe", "pods")
	events, err2 := w.Kubectl("-n", namespace, "get", "events", "--sort-by=.lastTimestamp")
	return strings.Join([]string{pods, events, fmt.Sprint(errors.Join(err, err2))}, "\n")
}

// Must is Kubectl for commands that must succeed.
func (w *World) Must(args ...string) string {
	w.t.Helper()
	out, err := w.Kubectl(args...)
	must(w.t, err)
	return out
}

// Exec runs a shell command in a pod (or deployment/NAME) of a namespace.
func (w *World) Exec(namespace, pod, script string) (string, error) {
	return w.Kubectl("-n", namespace, "exec", pod, "--", "bash", "-c", script)
}

// Cluster is a connection to its API server, as Admin.
func (w *World) Cluster() *kubeapi.Cluster {
	w.t.Helper()
	c, err := kubeapi.Connect(w.Kubeconfig(), "")
	must(w.t, err)
	return c
}

// Helm runs helm against the cluster.
func (w *World) Helm(args ...string) (string, error) { return w.Run("", programs.Helm(), args...) }

// Stop ends a part of the cluster at once: kube-apiserver, etcd, kube-controller-manager,
// kube-scheduler, kube-proxy, kubelet or containerd. Containers go on.
func (w *World) Stop(name string) {
	w.t.Helper()
	if name == "containerd" {
		w.Containerd.Kill()
		return
	}
	w.daemon(name).Kill()
}

// Start starts what Stop has ended, and waits for those that say when they are ready.
func (w *World) Start(name string) {
	w.t.Helper()
	switch name {
	case "containerd":
		w.Containerd.Run()
	case "kube-apiserver":
		w.Restart()
	default:
		w.daemon(name).Run()
	}
}

func (w *World) daemon(name string) *daemon.Daemon {
	w.t.Helper()
	switch name {
	case "etcd":
		return w.Etcd
	case "kube-apiserver":
		return w.APIServer
	}
	d, known := w.daemons[name]
	if !known {
		w.t.Fatalf("no part of the cluster is called %q", name)
	}
	return d
}

// Eventually waits until try succeeds and fails the test after two minutes with what it
// said last.
func (w *World) Eventually(what string, try func() error) {
	w.t.Helper()
	var err error
	if !await.Within(patience, func() bool { err = try(); return err == nil }) {
		w.t.Fatalf("%s: not within %v: %v", what, patience, err)
	}
}
