// Command image writes the container image of sluice, of two static programs and a few
// small files: no shell, no base image, nothing that is pulled.
//
//	go run ./deploy/image -tag sluice:1.0 -o bin/sluice-image.tar bin/sluice bin/sluice-cni
//
// `make image` builds the programs first. The archive goes to `docker load`,
// `podman load`, `ctr -n k8s.io images import` or `kind load image-archive`.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/internal/image"
)

func main() {
	tag := flag.String("tag", "sluice:devel", "`REPOSITORY:TAG` of the image")
	out := flag.String("o", "bin/sluice-image.tar", "`FILE` to write")
	arch := flag.String("arch", "", "`GOARCH` of the programs (default this machine's)")
	roots := flag.String("roots", "", "`FILE` of authorities in PEM to trust, as of the distribution's package (default those that are in the program)")
	flag.Parse()
	i := Image(*tag, *roots, flag.Args()...)
	i.Arch = *arch
	if err := i.WriteFile(*out); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		fmt.Fprintln(os.Stderr, "hint: 'make image' builds the programs and names them")
		os.Exit(1)
	}
	fmt.Println(*out, "holds", *tag)
}

// Image is the image of some programs, the first of which is what a container runs.
// roots may be a file of authorities.
func Image(tag, roots string, programs ...string) image.Image {
	base := []image.File{
		// The names of the users that processes in it have.
		{Path: "/etc/passwd", Content: []byte("root:x:0:0:root:/:/\nnonroot:x:65532:65532:nonroot:/:/\n")},
		{Path: "/etc/group", Content: []byte("root:x:0:\nnonroot:x:65532:\n")},
		// Runtimes name pods' namespaces by either path.
		{Path: "/var/run", Link: "/run"},
	}
	if roots != "" {
		base = append(base, image.File{Path: "/etc/ssl/certs/ca-certificates.crt", From: roots})
	}
	i := image.Image{
		Tag: tag,
		// Where the host's iptables are found, through its mount namespace.
		Env: []string{"PATH=/:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Labels: map[string]string{
			"org.opencontainers.image.title":   "sluice",
			"org.opencontainers.image.version": tag[strings.LastIndex(tag, ":")+1:],
		},
		Layers: [][]image.File{base},
	}
	// The plugin changes less often than the agent: in a layer below it.
	for _, p := range slices.Backward(programs) {
		i.Layers = append(i.Layers, []image.File{{Path: "/" + filepath.Base(p), Mode: 0o755, From: p}})
	}
	if len(programs) > 0 {
		name := filepath.Base(programs[0])
		i.Entrypoint = []string{"/" + name}
		i.Layers = append(i.Layers, []image.File{{Path: "/kubectl-" + name, Link: name}})
	}
	return i
}
