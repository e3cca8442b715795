package world

import (
	"errors"
	"path/filepath"

	"github.com/sluice-cni/sluice/e2e/cluster/apart"
	"github.com/sluice-cni/sluice/e2e/cluster/images"
)

// The images that the node has.
const (
	App    = images.App
	Sluice = images.Sluice
)

func writeImages(dir string) error {
	return errors.Join(
		images.WriteApp(filepath.Join(dir, "app.tar")),
		images.WriteCoreDNS(filepath.Join(dir, "coredns.tar"), images.CoreDNS),
		images.WriteSluice(filepath.Join(dir, "sluice.tar"), images.Sluice))
}

// archives are what writeImages has written.
func archives() ([]string, error) {
	return filepath.Glob(filepath.Join(apart.Folder(), "images", "*.tar"))
}
