package main

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/mesh/kube"
	"github.com/sluice-cni/sluice/proxy/metrics"
)

// resources are those in force: a directory's, or a cluster's.
type resources interface {
	Snapshot() *mesh.Snapshot // nil: not all is known yet
	Errors() int
	Issues() mesh.Issues
	Reassign()
	SubscribeWithErrors(func(*mesh.Snapshot, int))
	Run(context.Context) error
}

// held counts a store's resources in force.
func held(store resources) int {
	if s := store.Snapshot(); s != nil {
		return s.Len()
	}
	return 0
}

// openResources are the cluster's, or those of --config.
func (o agentOptions) openResources(c *cobra.Command, k *inCluster, meshed mesh.Options, log *slog.Logger) (resources, error) {
	if k == nil {
		store, err := openStore(c, file.Options{Options: meshed, Remember: filepath.Join(o.ownState(), "last-good"), Log: log})
		if err != nil {
			return nil, err // no *file.Store in the interface
		}
		return store, nil
	}
	meshed.ClusterDomain = string(o.kubernetes.domain)
	k.store = kube.New(k.feed, kube.Options{Options: meshed, ClusterDomain: meshed.ClusterDomain, Files: clusterFiles(), Log: k.objects.Pod(), Said: k.node.Judged})
	return k.store, nil
}

// countStore shows the state of resources.
func countStore(m *metrics.Metrics, store resources) {
	m.Configuration(
		func() int { return held(store) },
		store.Errors)
}
