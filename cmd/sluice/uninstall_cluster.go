package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/install/cluster"
	"github.com/sluice-cni/sluice/kubeapi"
)

type uninstallClusterOptions struct {
	daemonSet, kubeconfig string
	agents                []string
	released              bool
	wait                  time.Duration
}

func newUninstallClusterCommand() *cobra.Command {
	var o uninstallClusterOptions
	c := &cobra.Command{
		Use:   "cluster --daemonset FILE",
		Short: "Take the CNI plugin out of all nodes of a cluster",
		Long: `cluster makes the DaemonSet of --daemonset, each pod of which runs 'sluice uninstall'
before its containers, waits until all have, deletes the DaemonSets of --agents, has all do
it once more, and deletes its own. On a node that came while others were waited for, or
whose agent or installer started anew, sluice has begun again, hence the second time:
without their DaemonSets none can any more.

Nodes that are not done in time are named, and the DaemonSet stays for them. The Helm chart
brings one, and runs this before 'helm uninstall' takes anything away.`,
		Example: `  sluice uninstall cluster --daemonset daemonset.yaml --agents sluice-agent,sluice-holder`,
		Args:    noArguments,
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c) },
	}
	f := c.Flags()
	f.StringVar(&o.daemonSet, "daemonset", "", "`FILE` with the DaemonSet, in YAML or JSON, that does it on each node")
	f.StringSliceVar(&o.agents, "agents", nil, "`NAMES` of the DaemonSets of agents and installers, and of holders, in the namespace of --daemonset; they are deleted in this order once every node is done, which each is once more then")
	f.BoolVar(&o.released, "released", false, "refuse where a DaemonSet of --agents was made by no release of helm and no Application of Argo CD: for a chart's hook, which 'helm template | kubectl apply' applies like everything else")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "`FILE` that leads to the cluster (default the pod's own, else kubectl's)")
	f.DurationVar(&o.wait, "wait", 15*time.Minute, "how long (`TIME`) to wait for all nodes")
	return c
}

func (o uninstallClusterOptions) run(c *cobra.Command) error {
	if o.daemonSet == "" {
		return usage(errors.New("flag --daemonset: is missing; name the DaemonSet that runs 'sluice uninstall' on each node"), "the Helm chart brings one, and a hook that does all this at 'helm uninstall'")
	}
	text, err := os.ReadFile(o.daemonSet)
	if err != nil {
		return fmt.Errorf("--daemonset: %w", err)
	}
	set, err := cluster.ReadManifest(text)
	if err != nil {
		return fmt.Errorf("--daemonset %s: %w", o.daemonSet, err)
	}
	connected, err := kubeapi.Connect(o.kubeconfig, "")
	if err != nil {
		return err
	}
	u := cluster.Uninstall{Cluster: connected, Set: set, Agents: o.agents, Released: o.released, Wait: o.wait, Say: func(text string) { fmt.Fprintln(c.OutOrStdout(), text) }}
	err = u.Run(c.Context())
	switch {
	case errors.Is(err, cluster.ErrNotReleased):
		return hinted(err, "nothing was changed. This is the hook of 'helm uninstall': leave it out of what you apply ('helm template --no-hooks'), and delete what it has left. To uninstall where helm is only a template, see deploy/kustomize/uninstall")
	case errors.Is(err, cluster.ErrUnfinished):
		return hinted(err, fmt.Sprintf("'kubectl -n %s logs daemonset/%s --all-containers' says why; it stays, and goes on with nodes that come back. Run this again, or delete the DaemonSet to leave them as they are",
			set.Key().Namespace, set.Key().Name))
	}
	return err
}
