package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/install/cluster"
	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/selection/namespaces"
)

type statusClusterOptions struct{ namespace, kubeconfig string }

func newStatusClusterCommand() *cobra.Command {
	var o statusClusterOptions
	c := &cobra.Command{
		Use:   "cluster",
		Short: "Show on how many nodes of a cluster sluice is ready",
		Long: `cluster asks the API server, and not this node, on how many nodes agents and holders are
ready, and what is the matter with the rest; and what keeps the policy, ConfigMap ` + policyMap().Name + `,
from being in force. The exit code is 1 unless all are ready and it is.`,
		Example: `  sluice status cluster`,
		Args:    noArguments,
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c) },
	}
	f := c.Flags()
	f.StringVar(&o.namespace, "namespace", "", "the `NAMESPACE` that sluice was installed into (default POD_NAMESPACE of the environment, else "+cluster.Namespace+")")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "the `FILE` that leads to the cluster (default the pod's own, else kubectl's)")
	return c
}

// run shows what is not ready as an error.
func (o statusClusterOptions) run(c *cobra.Command) error {
	connected, err := kubeapi.Connect(o.kubeconfig, "")
	if err != nil {
		return err
	}
	namespace := cmp.Or(o.namespace, os.Getenv("POD_NAMESPACE"), cluster.Namespace)
	sets, err := cluster.Look(c.Context(), connected, namespace)
	if errors.Is(err, kubeapi.ErrForbidden) {
		return hinted(err, remedy.Here().Say(remedy.MayNotLook))
	}
	if err != nil {
		return err
	}
	if len(sets) == 0 {
		return hinted(fmt.Errorf("namespace %q: has no DaemonSet of sluice", namespace), "--namespace names the one that sluice was installed into")
	}
	rows := [][]string{{"DAEMONSET", "NODES", "READY", "UP TO DATE"}}
	var errs []error
	var unready []string
	for _, d := range sets {
		rows = append(rows, []string{d.Name, strconv.Itoa(d.Nodes), strconv.Itoa(d.Ready), strconv.Itoa(d.UpToDate)})
		errs, unready = append(errs, d.Err), append(unready, d.Unready...)
	}
	if err := table(c.OutOrStdout(), rows); err != nil {
		return err
	}
	for i, text := range unready {
		if i == 0 {
			fmt.Fprintln(c.OutOrStdout())
		}
		fmt.Fprintln(c.OutOrStdout(), printableUpTo(text, maxFact))
	}
	mistake := policyInForce(c.Context(), connected, namespace)
	if err := errors.Join(errs...); err != nil {
		return hinted(errors.Join(err, mistake), "'kubectl -n "+namespace+" describe pod NAME' has the probes' words as Events, and the container's log has more")
	}
	return mistake
}

// policyInForce says what keeps the ConfigMap's policy from being in force; nil: nothing does,
// or there is none.
func policyInForce(ctx context.Context, c *kubeapi.Cluster, namespace string) error {
	name := policyMap().Name
	// By its name: whoever may read one ConfigMap may list it so.
	maps, err := c.ListWhole(ctx, kubeapi.ConfigMaps, kubeapi.Selector{Namespace: namespace, Fields: "metadata.name=" + name})
	if err != nil {
		return err
	}
	for _, o := range maps {
		if wrong := namespaces.Judge(o); wrong != nil {
			return fmt.Errorf("ConfigMap %s: not in force, and what it last said that was good is: %w", name, wrong)
		}
	}
	return nil
}
