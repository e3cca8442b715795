// Package images writes the container images that the tests of a cluster have on its
// nodes, out of programs of this machine and of this tree. Nothing is pulled; pods that use
// them say imagePullPolicy: Never or IfNotPresent.
package images

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	node "github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/internal/built"
	"github.com/sluice-cni/sluice/internal/image"
	"github.com/sluice-cni/sluice/plugin/cnitest"
)

// The images' names.
const (
	// App has this machine's bash, curl and what else appPrograms names; it sleeps.
	App = "sluice.test/app:1"
	// Sluice is deploy/image's, of this tree.
	Sluice = "sluice.test/sluice:1"
	// CoreDNS has the one program.
	CoreDNS = "sluice.test/coredns:1"
)

// appPrograms are what the seed's page and the tests run in a pod.
var appPrograms = []string{"bash", "sh", "curl", "cat", "date", "env", "getent", "hostname", "id", "ls", "seq", "sleep"}

// WriteApp writes App to a file.
func WriteApp(file string) error {
	files, err := Programs("/bin", appPrograms...)
	if err != nil {
		return err
	}
	return image.Image{
		Tag: App, Entrypoint: []string{"/bin/sleep", "infinity"},
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Layers: [][]image.File{append(files,
			image.File{Path: "/etc/passwd", Content: []byte("root:x:0:0:root:/:/bin/bash\n")},
			image.File{Path: "/etc/nsswitch.conf", Content: []byte("hosts: files dns\n")})},
	}.WriteFile(file)
}

// WriteCoreDNS writes CoreDNS, or the same by other names, to a file.
func WriteCoreDNS(file string, tags ...string) error {
	return image.Image{
		Tag: tags[0], Also: tags[1:], Entrypoint: []string{"/coredns"},
		Layers: [][]image.File{{{Path: "/coredns", Mode: 0o755, From: programs.CoreDNS()}}},
	}.WriteFile(file)
}

// WriteSluice writes an image of the programs that e2e/node/programs has built to a file,
// by the name of tag.
func WriteSluice(file, tag string) error {
	root, err := built.Root()
	if err != nil {
		return err
	}
	write := exec.Command("go", "run", "./deploy/image", "-tag", tag, "-o", file,
		node.Sluice(), filepath.Join(cnitest.Folder(), "sluice-cni"))
	write.Dir = root
	if out, err := write.CombinedOutput(); err != nil {
		return fmt.Errorf("make the image of sluice: %w\n%s", err, out)
	}
	return nil
}

// Programs are programs of this machine in a folder of an image, and the libraries that
// they are linked to where they look for them.
func Programs(folder string, names ...string) (files []image.File, err error) {
	var libraries []string
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			return nil, fmt.Errorf("the image is made of this machine's programs: %w", err)
		}
		files = append(files, image.File{Path: filepath.Join(folder, name), Mode: 0o755, From: path})
		out, err := exec.Command("ldd", path).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("ldd %s: %w\n%s", path, err, out)
		}
		for word := range strings.FieldsSeq(string(out)) {
			if strings.HasPrefix(word, "/") && !slices.Contains(libraries, word) {
				libraries = append(libraries, word)
			}
		}
	}
	for _, l := range libraries {
		files = append(files, image.File{Path: l, Mode: 0o755, From: l})
	}
	return files, nil
}
