package world

import (
	"fmt"
	"os"
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

// The images that the node has. Pods that use them say imagePullPolicy: Never or
// IfNotPresent.
const (
	// App has this machine's bash, curl and what else appPrograms names; it sleeps.
	App = "sluice.test/app:1"
	// Sluice is deploy/image's, of this tree.
	Sluice = "sluice.test/sluice:1"
	// coreDNS has the one program.
	coreDNS = "sluice.test/coredns:1"
)

// appPrograms are what the seed's page and the tests run in a pod.
var appPrograms = []string{"bash", "sh", "curl", "cat", "date", "env", "getent", "hostname", "id", "ls", "seq", "sleep"}

func writeImages(dir string) error {
	files, err := closure(appPrograms)
	if err != nil {
		return err
	}
	app := image.Image{
		Tag: App, Entrypoint: []string{"/bin/sleep", "infinity"},
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Layers: [][]image.File{append(files,
			image.File{Path: "/etc/passwd", Content: []byte("root:x:0:0:root:/:/bin/bash\n")},
			image.File{Path: "/etc/nsswitch.conf", Content: []byte("hosts: files dns\n")})},
	}
	if err := app.WriteFile(filepath.Join(dir, "app.tar")); err != nil {
		return err
	}
	dns := image.Image{
		Tag: coreDNS, Entrypoint: []string{"/coredns"},
		Layers: [][]image.File{{{Path: "/coredns", Mode: 0o755, From: programs.CoreDNS()}}},
	}
	if err := dns.WriteFile(filepath.Join(dir, "coredns.tar")); err != nil {
		return err
	}
	root, err := built.Root()
	if err != nil {
		return err
	}
	sluice := exec.Command("go", "run", "./deploy/image", "-tag", Sluice, "-o", filepath.Join(dir, "sluice.tar"),
		node.Sluice(), filepath.Join(cnitest.Folder(), "sluice-cni"))
	sluice.Dir = root
	if out, err := sluice.CombinedOutput(); err != nil {
		return fmt.Errorf("make the image of sluice: %w\n%s", err, out)
	}
	return nil
}

// images are the archives that writeImages has written.
func images() ([]string, error) { return filepath.Glob(filepath.Join(os.Getenv(imagesEnv), "*.tar")) }

// closure are programs of this machine at /bin, and the libraries that they are linked to
// where they look for them.
func closure(names []string) (files []image.File, err error) {
	var libraries []string
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			return nil, fmt.Errorf("the image %s is made of this machine's programs: %w", App, err)
		}
		files = append(files, image.File{Path: "/bin/" + name, Mode: 0o755, From: path})
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
