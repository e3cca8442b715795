package containerd

import (
	"path/filepath"

	"github.com/sluice-cni/sluice/internal/image"
)

// Image is the name of the one image that there is: the sandbox's and that of all
// containers.
const Image = "sluice.test/incontainer:1"

// writeImage writes an image of some programs as an archive that `ctr images import`
// takes. They lie in its root, and the first one's pause is what a sandbox runs.
func writeImage(path string, programs ...string) error {
	var files []image.File
	for _, p := range programs {
		files = append(files, image.File{Path: "/" + filepath.Base(p), Mode: 0o755, From: p})
	}
	i := image.Image{Tag: Image, Entrypoint: []string{files[0].Path, "pause"}, Layers: [][]image.File{files}}
	return i.WriteFile(path)
}
