package kind

import (
	"os"
	"path/filepath"
	"strings"

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
	must(c.t, os.Mkdir(dir, 0o755))
	preset, err := filepath.Rel(dir, filepath.Join(root, "deploy", "kustomize", "presets", "kind"))
	must(c.t, err)
	repository, tag, _ := strings.Cut(images.Sluice, ":")
	overlay := strings.NewReplacer("PRESET", preset, "REPOSITORY", repository, "TAG", tag, "AUTHORITIES", nodeAuthorities).Replace(kustomization)
	must(c.t, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(overlay), 0o644))
	c.Kubectl("apply", "--server-side", "--filename="+filepath.Join(apart.Folder(), definitions))
	c.Kubectl("apply", "--kustomize="+dir)
	c.Rollout(world.Namespace, "daemonset/sluice-holder")
	c.Rollout(world.Namespace, "daemonset/sluice-agent")
}

const kustomization = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - PRESET
images:
  - {name: sluice, newName: REPOSITORY, newTag: "TAG"}
patches:
  - target: {kind: DaemonSet, name: sluice-agent}
    patch: |
      apiVersion: apps/v1
      kind: DaemonSet
      metadata: {name: sluice-agent}
      spec:
        template:
          spec:
            volumes:
              - name: authorities
                hostPath: {path: AUTHORITIES, type: Directory}
            containers:
              - name: agent
                volumeMounts:
                  - {name: authorities, mountPath: /etc/ssl/certs, readOnly: true}
`
