package cluster

import (
	"cmp"
	"context"
	"fmt"

	"github.com/sluice-cni/sluice/kubeapi"
)

// Namespace is where the chart's notes and the Kustomize base put sluice.
const Namespace = "sluice-system"

// ofSluice selects what the chart has made.
const ofSluice = "app.kubernetes.io/name=sluice"

// DaemonSet says on how many nodes one of sluice's has a pod that is ready.
type DaemonSet struct {
	Name                   string
	Nodes, Ready, UpToDate int
	Err                    error    // why it is not as it should be; nil: it is
	Unready                []string // where there is an Err: its pods that are not ready, each with its node and the reason
}

// Look asks for the DaemonSets of sluice in a namespace; there are none where it is not.
func Look(ctx context.Context, c *kubeapi.Cluster, namespace string) (all []DaemonSet, err error) {
	objects, err := c.ListWhole(ctx, kubeapi.DaemonSets, kubeapi.Selector{Namespace: namespace, Labels: ofSluice})
	if err != nil {
		return nil, err
	}
	sets, err := read[daemonSet](objects)
	if err != nil {
		return nil, err
	}
	for _, d := range sets {
		one := DaemonSet{Name: d.Metadata.Name, Nodes: d.Status.DesiredNumberScheduled, Ready: d.Status.NumberReady, UpToDate: d.Status.UpdatedNumberScheduled, Err: d.unready()}
		if one.Err != nil {
			objects, err := c.ListWhole(ctx, kubeapi.Pods, d.pods())
			if err != nil {
				return nil, err
			}
			pods, err := read[pod](objects)
			if err != nil {
				return nil, err
			}
			one.Unready = unready(pods)
		}
		all = append(all, one)
	}
	return all, nil
}

// unready says why a DaemonSet is not as it should be; nil: it is. A node counts as ready by
// its oldest pod, which is the one before while both are there.
func (d daemonSet) unready() error {
	nodes, s := nodes(d.Status.DesiredNumberScheduled), d.Status
	switch {
	case !d.seen():
		return fmt.Errorf("DaemonSet %s: was changed a moment ago", d.Metadata.Name)
	case s.NumberReady < s.DesiredNumberScheduled:
		return fmt.Errorf("DaemonSet %s: is ready on %d of %s", d.Metadata.Name, s.NumberReady, nodes)
	case s.UpdatedNumberScheduled < s.DesiredNumberScheduled:
		return fmt.Errorf("DaemonSet %s: is up to date on %d of %s", d.Metadata.Name, s.UpdatedNumberScheduled, nodes)
	}
	return nil
}

// unready are the pods that are not ready, with the reason.
func unready(pods []pod) (lines []string) {
	for _, p := range pods {
		if why := p.unready(); why != "" {
			lines = append(lines, fmt.Sprintf("node %s: pod %s: %s", cmp.Or(p.Spec.NodeName, "-"), p.Metadata.Name, why))
		}
	}
	return lines
}
