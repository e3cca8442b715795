package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/cidr/discover"
	"github.com/sluice-cni/sluice/kubeapi"
)

// rangeSources are what an API server is asked about its cluster's ranges.
var rangeSources = []struct {
	ask       func(context.Context, *kubeapi.Cluster) ([]kubeapi.Object, error)
	needed    bool   // a refusal is an error: without it ranges may be missing
	otherwise string // what it means that there is no such kind
}{
	{allOf(kubeapi.ServiceCIDRs, kubeapi.Selector{}), true, "the cluster has no ServiceCIDR objects (they came with Kubernetes 1.33)"},
	{allOf(kubeapi.Nodes, kubeapi.Selector{}), true, ""},
	{func(ctx context.Context, c *kubeapi.Cluster) ([]kubeapi.Object, error) {
		o, err := c.Get(ctx, kubeapi.ConfigMaps, kubeapi.Key{Namespace: "kube-system", Name: "kubeadm-config"})
		return []kubeapi.Object{o}, err
	}, false, ""},
	{allOf(kubeapi.Pods, kubeapi.Selector{Namespace: "kube-system", Labels: "tier=control-plane"}), false, ""},
}

func allOf(k kubeapi.Kind, s kubeapi.Selector) func(context.Context, *kubeapi.Cluster) ([]kubeapi.Object, error) {
	return func(ctx context.Context, c *kubeapi.Cluster) ([]kubeapi.Object, error) { return c.ListWhole(ctx, k, s) }
}

// ask asks an API server.
func (o cidrOptions) ask(c *cobra.Command) (found discover.Findings, err error) {
	cluster, err := kubeapi.ConnectAsKubectl(o.kubeconfig, o.context)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, s := range rangeSources {
		objects, err := s.ask(c.Context(), cluster)
		switch {
		case errors.Is(err, kubeapi.ErrMissing) && s.otherwise != "":
			fmt.Fprintln(c.ErrOrStderr(), "notice:", s.otherwise)
		case err != nil && (s.needed || errors.Is(err, kubeapi.ErrUnreachable)):
			errs = append(errs, err)
		}
		if err != nil {
			continue
		}
		for _, object := range objects {
			more, err := discover.Read(cluster.Name(), object.JSON)
			if err != nil && !errors.Is(err, discover.ErrUnknown) {
				errs = append(errs, err)
			}
			found = append(found, more...)
		}
	}
	for i := range found {
		found[i].Source.Line = 0 // of an answer that nobody sees
	}
	if len(errs) == 0 && len(found) == 0 {
		errs = append(errs, fmt.Errorf("API server %s: %w", cluster.Name(), discover.ErrUnknown))
	}
	return found, errors.Join(errs...)
}
