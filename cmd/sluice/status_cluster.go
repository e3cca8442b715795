package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/install/cluster"
	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/kubeapi"
)

type statusClusterOptions struct{ namespace, kubeconfig string }

func newStatusClusterCommand() *cobra.Command {
	var o statusClusterOptions
	c := &cobra.Command{
		Use:   "cluster",
		Short: "Show on how many nodes of a cluster sluice is ready",
		Long: `cluster asks the API server, and not this node, on how many nodes agents and holders are
ready, and what is the matter with the rest. The exit code is 1 unless all are.`,
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
	if err := errors.Join(errs...); err != nil {
		return hinted(err, "'kubectl -n "+namespace+" describe pod NAME' has the probes' words as Events, and the container's log has more")
	}
	return nil
}
