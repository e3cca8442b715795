package kind

import (
	"path/filepath"

	"github.com/sluice-cni/sluice/e2e/cluster/apart"
	"github.com/sluice-cni/sluice/e2e/cluster/images"
	"github.com/sluice-cni/sluice/e2e/cluster/world"
	"github.com/sluice-cni/sluice/internal/built"
)

// Install installs sluice by Kustomize's preset kind, with the image of this tree, and
// waits until it is ready. Agents trust the internet's authority where it is an acted one.
func (c *Cluster) Install() {
	c.t.Helper()
	c.Load(filepath.Join(apart.Folder(), sluiceArchive))
	root, err := built.Root()
	must(c.t, err)
	dir := filepath.Join(c.dir, "install")
	preset, err := filepath.Rel(dir, filepath.Join(root, "deploy", "kustomize", "presets", "kind"))
	must(c.t, err)
	must(c.t, world.Overlay(dir, preset, images.Sluice, world.Trusting(nodeAuthorities)))
	c.Kubectl("apply", "--server-side", "--filename="+filepath.Join(apart.Folder(), definitions))
	c.Kubectl("apply", "--kustomize="+dir)
	c.Rollout(world.Namespace, "daemonset/sluice-holder")
	c.Rollout(world.Namespace, "daemonset/sluice-agent")
}
