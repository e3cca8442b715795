package nodeimage

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	node "github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/internal/built"
	"github.com/sluice-cni/sluice/internal/image"
	"github.com/sluice-cni/sluice/plugin/cnitest"
)

// Tag is the image's name.
const Tag = "sluice.test/kind-node:" + programs.KubernetesVersion

// Archive is the image as `podman load` and `docker load` take it, built at the first call
// and kept. It takes the Go module proxy and a Debian mirror the first time, mmdebstrap and
// nft on this machine, and root.
func Archive() (file string, err error) {
	if err := programs.Build(programs.EtcdServer, programs.Hyperkube, programs.Kubeadm, programs.DNS); err != nil {
		return "", err
	}
	if err := node.Fetch([]string{node.Containerd2}); err != nil {
		return "", err
	}
	if _, err := cnitest.Build(); err != nil {
		return "", err
	}
	debian, err := debianLayer()
	if err != nil {
		return "", err
	}
	base, err := kindFiles()
	if err != nil {
		return "", err
	}
	key, err := key(debian, base)
	if err != nil {
		return "", err
	}
	dir, err := built.Once("kind", "node-"+key, func(dir string) error {
		fmt.Fprintln(os.Stderr, "putting the node image together, once")
		return write(dir, debian, base)
	})
	return filepath.Join(dir, archiveName), err
}

const archiveName = "node.tar"

// key names all that the image is made of. Folders of the cache are named by their content.
func key(debian string, base []image.File) (string, error) {
	parts := []string{debian, programs.Kubernetes(), programs.Etcd(), programs.CoreDNS(), programs.Kubeadm.Path(), node.Runtimes()[0].Folder}
	for _, f := range base {
		parts = append(parts, f.Path, string(f.Content))
	}
	root, err := built.Root()
	if err != nil {
		return "", err
	}
	sources := []string{filepath.Join(root, "tools", "cni", "go.sum")}
	for _, folder := range []string{"e2e/kind/nodeimage", "e2e/node/incontainer"} {
		files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
		if err != nil {
			return "", err
		}
		sources = append(sources, files...)
	}
	for _, s := range sources {
		content, err := os.ReadFile(s)
		if err != nil {
			return "", err
		}
		parts = append(parts, string(content))
	}
	return built.Key(parts...), nil
}

// write writes the image, with the cluster's own images in it, into dir.
func write(dir, debian string, base []image.File) error {
	parts := filepath.Join(dir, "parts")
	if err := os.Mkdir(parts, 0o755); err != nil {
		return err
	}
	pause, inside, err := clusterImages(parts)
	if err != nil {
		return err
	}
	node := image.Image{
		Tag: Tag, Entrypoint: []string{"/usr/local/bin/entrypoint", "/sbin/init"},
		Env:    []string{"container=podman", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Under:  []string{debian},
		Layers: [][]image.File{base, programFiles(), append(settings(pause), inside...)},
	}
	if err := node.WriteFile(filepath.Join(dir, archiveName)); err != nil {
		return err
	}
	return os.RemoveAll(parts)
}

// kindModule is the folder of kind's module.
func kindModule() (string, error) {
	root, err := built.Root()
	if err != nil {
		return "", err
	}
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kind")
	list.Dir = filepath.Join(root, "tools", "kind")
	list.Env = append(os.Environ(), "GOWORK=off")
	out, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("find kind's module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
