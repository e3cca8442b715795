package programs

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sluice-cni/sluice/internal/built"
)

// Tool is a program that a module below tools/ builds.
type Tool struct {
	Name   string // of the program's file
	module string // folder below tools/
	target string
	flags  []string
	links  []string // other names of the same file
}

// KubernetesVersion is that of tools/kubernetes/go.mod, which a build without a
// git tag does not know by itself; the node reports it.
const KubernetesVersion, kubernetesMinor = "v1.34.4", "34"

// The tools, by what the tests need them for: EtcdServer and Hyperkube are an API server;
// with DNS they are a cluster.
var (
	EtcdServer = Tool{Name: "etcd", module: "etcd", target: "go.etcd.io/etcd/server/v3"}
	Hyperkube  = Tool{Name: "hyperkube", module: "kubernetes", target: "./hyperkube", flags: versioned(),
		links: []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl"}}
	Kubeadm       = Tool{Name: "kubeadm", module: "kubernetes", target: "k8s.io/kubernetes/cmd/kubeadm", flags: versioned()}
	DNS           = Tool{Name: "coredns", module: "coredns", target: "."}
	HelmTool      = Tool{Name: "helm", module: "helm", target: "helm.sh/helm/v3/cmd/helm", flags: helmFlags()}
	KustomizeTool = Tool{Name: "kustomize", module: "kustomize", target: "sigs.k8s.io/kustomize/kustomize/v5"}
	KindTool      = Tool{Name: "kind", module: "kind", target: "sigs.k8s.io/kind"}
)

func versioned() []string {
	const set = " -X k8s.io/component-base/version."
	return []string{"-ldflags", "-s -w" + set + "gitVersion=" + KubernetesVersion + set + "gitMajor=1" + set + "gitMinor=" + kubernetesMinor +
		set + "gitTreeState=clean" + set + "gitCommit=unknown" + set + "buildDate=1970-01-01T00:00:00Z"}
}

// helmFlags are for what helm takes for the cluster's version where it asks none:
// without them it is 1.20.
func helmFlags() []string {
	const set = " -X helm.sh/helm/v3/pkg/"
	flags := "-s -w"
	for _, where := range []string{"chartutil", "lint/rules"} {
		flags += set + where + ".k8sVersionMajor=1" + set + where + ".k8sVersionMinor=" + kubernetesMinor
	}
	return []string{"-ldflags", flags}
}

// Kubernetes is the folder with kube-apiserver, kube-controller-manager, kube-scheduler,
// kube-proxy, kubelet and kubectl.
func Kubernetes() string { return Hyperkube.folder() }

// Etcd is the program etcd.
func Etcd() string { return EtcdServer.Path() }

// CoreDNS is the program coredns.
func CoreDNS() string { return DNS.Path() }

// Helm is the program helm.
func Helm() string { return HelmTool.Path() }

// Kustomize is the program kustomize.
func Kustomize() string { return KustomizeTool.Path() }

// Kind is the program kind.
func Kind() string { return KindTool.Path() }

// Path is the program, or "" where it has not been built.
func (t Tool) Path() string {
	if dir := t.folder(); dir != "" {
		return filepath.Join(dir, t.Name)
	}
	return ""
}

func (t Tool) folder() string {
	_, key, err := t.version()
	if err != nil {
		return ""
	}
	dir, there := built.Find("cluster", key)
	if !there {
		return ""
	}
	return dir
}

// Build builds those that are not in the cache yet, one after the other.
func Build(all ...Tool) error {
	for _, t := range all {
		if err := t.build(); err != nil {
			return err
		}
	}
	return nil
}

func (t Tool) build() error {
	module, key, err := t.version()
	if err != nil {
		return err
	}
	_, err = built.Once("cluster", key, func(dir string) error {
		began := time.Now()
		fmt.Fprintf(os.Stderr, "building %s, once (Kubernetes takes five minutes)\n", t.Name)
		if err := built.Go(module, filepath.Join(dir, t.Name), t.target, t.flags...); err != nil {
			return err
		}
		for _, name := range t.links {
			if err := os.Symlink(t.Name, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		fmt.Fprintf(os.Stderr, "built %s in %v\n", t.Name, time.Since(began).Round(time.Second))
		return nil
	})
	return err
}

// version is the module's folder, and a key of all that the program is made of.
func (t Tool) version() (module, key string, err error) {
	root, err := built.Root()
	if err != nil {
		return "", "", err
	}
	module = filepath.Join(root, "tools", t.module)
	parts := append([]string{t.Name, t.target}, t.flags...)
	files := []string{"go.mod", "go.sum"}
	sources, err := filepath.Glob(filepath.Join(module, t.target, "*.go"))
	if err != nil {
		return "", "", err
	}
	for _, s := range sources {
		rest, _ := filepath.Rel(module, s)
		files = append(files, rest)
	}
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", "", fmt.Errorf("tool %s: %w", t.Name, err)
		}
		parts = append(parts, string(content))
	}
	return module, built.Key(parts...), nil
}

// Named is the tool of that name.
func Named(name string) (Tool, error) {
	for _, t := range []Tool{EtcdServer, Hyperkube, Kubeadm, DNS, HelmTool, KustomizeTool, KindTool} {
		if t.Name == name {
			return t, nil
		}
	}
	return Tool{}, fmt.Errorf("tool %q: not one of etcd, hyperkube, kubeadm, coredns, helm, kustomize and kind", name)
}
