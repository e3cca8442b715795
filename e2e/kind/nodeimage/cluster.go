package nodeimage

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sluice-cni/sluice/e2e/cluster/images"
	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	"github.com/sluice-cni/sluice/internal/built"
	"github.com/sluice-cni/sluice/internal/image"
)

// imagesDir is where the node has the images that it loads when it starts.
const imagesDir = "/kind/images"

// clusterImages writes the images that kubeadm asks for into dir, under the very names
// that it asks by. pause is the name of the sandbox's.
func clusterImages(dir string) (pause string, files []image.File, err error) {
	out, err := exec.Command(programs.Kubeadm.Path(), "config", "images", "list", "--kubernetes-version="+programs.KubernetesVersion).Output()
	if err != nil {
		return "", nil, fmt.Errorf("ask kubeadm for its images: %w", err)
	}
	var kubernetes []string
	var dns string
	for name := range strings.FieldsSeq(string(out)) {
		switch repository, _, _ := strings.Cut(filepath.Base(name), ":"); repository {
		case "pause":
			pause = name
		case "coredns":
			dns = name
		default:
			kubernetes = append(kubernetes, name)
		}
	}
	if pause == "" || dns == "" || len(kubernetes) == 0 {
		return "", nil, fmt.Errorf("kubeadm names these images, of which pause, coredns or all others are missing: %q", out)
	}
	for name, write := range map[string]func(file string) error{
		"kubernetes.tar": func(file string) error { return writeKubernetes(file, kubernetes) },
		"coredns.tar":    func(file string) error { return images.WriteCoreDNS(file, dns) },
		"pause.tar":      func(file string) error { return writePause(file, pause) },
	} {
		file := filepath.Join(dir, name)
		if err := write(file); err != nil {
			return "", nil, err
		}
		files = append(files, image.File{Path: imagesDir + "/" + name, From: file})
	}
	return pause, files, nil
}

// writeKubernetes writes one image that serves for each part of Kubernetes and etcd, whose
// pods say which program they run. nft is kube-proxy's.
func writeKubernetes(file string, tags []string) error {
	const folder = "/usr/local/bin"
	files, err := images.Programs(folder, "nft")
	if err != nil {
		return err
	}
	files = append(files,
		image.File{Path: folder + "/hyperkube", Mode: 0o755, From: filepath.Join(programs.Kubernetes(), "hyperkube")},
		image.File{Path: folder + "/etcd", Mode: 0o755, From: programs.Etcd()})
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		files = append(files, image.File{Path: folder + "/" + name, Link: "hyperkube"})
	}
	return image.Image{
		Tag: tags[0], Also: tags[1:], Env: []string{"PATH=" + folder + ":/usr/sbin:/usr/bin:/sbin:/bin"},
		Layers: [][]image.File{files},
	}.WriteFile(file)
}

// writePause writes the image of a sandbox.
func writePause(file, tag string) error {
	root, err := built.Root()
	if err != nil {
		return err
	}
	program := filepath.Join(filepath.Dir(file), "incontainer")
	if err := built.Go(root, program, "./e2e/node/incontainer"); err != nil {
		return err
	}
	return image.Image{
		Tag: tag, Entrypoint: []string{"/incontainer", "pause"},
		Layers: [][]image.File{{{Path: "/incontainer", Mode: 0o755, From: program}}},
	}.WriteFile(file)
}
