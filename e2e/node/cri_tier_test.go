package node

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/images"
	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/e2e/node/containerd"
	"github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/e2e/tiers"
)

// The second tier: containerd makes the pods, asked over CRI as a kubelet asks it.
func TestTheScenariosWithContainerd(t *testing.T) {
	withRuntimes(t, func(t *testing.T, r programs.Runtime) {
		n := newTierNode(t, stage.Options{})
		c := runtimeOf(t, n.Node, r)
		app := filepath.Join(t.TempDir(), "app.tar")
		must(t, images.WriteApp(app))
		must(t, c.Import(app))
		n.pod = func(t *testing.T, name string, annotations map[string]string) (tiers.Pod, error) {
			p, err := c.TryPod(containerd.PodSpec{Name: name, Annotations: annotations, Servers: []string{egress.DNS}})
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { must(t, p.Remove()) })
			container, err := p.ContainerOf(images.App, "app", containerd.Capabilities{})
			return containerPod{p, container}, err
		}
		if *full {
			n.run(t)
			return
		}
		n.run(t, "unregistered", "registered", "names", "another agent", "malformed")
	})
}

// containerPod is a sandbox with one container.
type containerPod struct {
	sandbox   *containerd.Pod
	container string
}

func (p containerPod) Bash(commands string) (string, error) {
	o, err := p.sandbox.Run(p.container, "bin/bash", "-c", commands)
	if err == nil && o.Code != 0 {
		err = fmt.Errorf("exit code %d: %s", o.Code, o.Err)
	}
	return o.Out, err
}

// Started: a container that were started anew would have another ID, in which nothing ran.
func (p containerPod) Started() string { return p.container }
