package nodeimage_test

import (
	"archive/tar"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	"github.com/sluice-cni/sluice/e2e/kind/nodeimage"
)

// wantedEnv must be set for the image to be built: `make e2e-kind` does it.
const wantedEnv = "SLUICE_TEST_KIND"

func TestTheNodeImageHasWhatKindAndKubeadmAskFor(t *testing.T) {
	if os.Getenv(wantedEnv) == "" || os.Geteuid() != 0 {
		t.Skip("not run: builds Kubernetes and installs a Debian system, as root; `make e2e-kind` does")
	}
	archive, err := nodeimage.Archive()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	node := map[string]bool{}
	var tags []string
	within(t, f, func(name string, content io.Reader) {
		if !strings.HasPrefix(name, "layer") {
			return
		}
		within(t, content, func(name string, content io.Reader) {
			node["/"+strings.TrimPrefix(name, "./")] = true
			if strings.HasPrefix(name, "kind/images/") {
				tags = append(tags, repoTags(t, content)...)
			}
		})
	})
	for _, path := range []string{
		"/usr/local/bin/entrypoint", "/usr/sbin/init", "/usr/bin/kubeadm", "/usr/bin/kubelet", "/usr/bin/kubectl", "/usr/local/bin/containerd",
		"/usr/local/bin/ctr", "/usr/sbin/runc", "/usr/sbin/nft", "/usr/sbin/iptables-save", "/usr/bin/jq", "/opt/cni/bin/ptp", "/kind/version",
	} {
		if !node[path] {
			t.Errorf("the node has no %s", path)
		}
	}
	// By kubeadm's names, of this version, whatever registry they begin with.
	for _, image := range []string{
		"/kube-apiserver:" + programs.KubernetesVersion, "/kube-controller-manager:" + programs.KubernetesVersion, "/kube-scheduler:" + programs.KubernetesVersion,
		"/kube-proxy:" + programs.KubernetesVersion, "/etcd:", "/coredns/coredns:", "/pause:",
	} {
		if !slices.ContainsFunc(tags, func(tag string) bool { return strings.Contains(tag, image) }) {
			t.Errorf("the node has no image %s among %q", image, tags)
		}
	}
}

// within calls for each file of an archive.
func within(t *testing.T, archive io.Reader, visit func(name string, content io.Reader)) {
	t.Helper()
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		visit(h.Name, r)
	}
}

// repoTags are the names of an image.
func repoTags(t *testing.T, archive io.Reader) (tags []string) {
	t.Helper()
	within(t, archive, func(name string, content io.Reader) {
		if name != "manifest.json" {
			return
		}
		var manifest []struct{ RepoTags []string }
		if err := json.NewDecoder(content).Decode(&manifest); err != nil {
			t.Fatal(err)
		}
		tags = append(tags, manifest[0].RepoTags...)
	})
	return tags
}
