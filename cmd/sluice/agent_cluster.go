package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluice-cni/sluice/agent"
	nodekube "github.com/sluice-cni/sluice/agent/kube"
	"github.com/sluice-cni/sluice/agent/kube/secrets"
	"github.com/sluice-cni/sluice/agent/podlog"
	"github.com/sluice-cni/sluice/install"
	"github.com/sluice-cni/sluice/install/cluster"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/mesh/kube"
	"github.com/sluice-cni/sluice/proxy/credential"
	"github.com/sluice-cni/sluice/selection"
	"github.com/sluice-cni/sluice/selection/namespaces"
)

// ownCluster is --kubernetes without a value: the cluster that the pod runs in.
const ownCluster = "own"

type kubernetesOptions struct {
	from   string // a kubeconfig, or ownCluster; "": no cluster
	node   string
	domain domainValue
	taint  bool
}

func (o *kubernetesOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.from, "kubernetes", "", "follow the resources, Services and namespaces of a cluster instead of a directory's: the one this pod runs in, or with =`KUBECONFIG` the current one of that file")
	f.Lookup("kubernetes").NoOptDefVal = ownCluster
	f.StringVar(&o.node, "node-name", "", "`NAME` of this node in the cluster (default: $NODE_NAME)")
	f.BoolVar(&o.taint, "readiness-taint", false, "take the taint "+nodekube.Taint+" from this node once the agent is ready and 'sluice install --watch' has the plugin in place; with --kubernetes")
	domainFlag(f, &o.domain)
}

// check says what is wrong with the flags by themselves. config is --config.
func (o kubernetesOptions) check(config string) error {
	if o.from == "" {
		if o.taint {
			return errors.New("--readiness-taint: needs --kubernetes")
		}
		return nil
	}
	var errs []error
	if config != "" {
		errs = append(errs, fmt.Errorf("--config %q: not beside --kubernetes: the resources are the cluster's or a directory's; leave one of them out", config))
	}
	if o.node == "" {
		errs = append(errs, errors.New("--node-name: missing; give this node's name in the cluster, or set NODE_NAME (spec.nodeName by the downward API)"))
	}
	return errors.Join(errs...)
}

// inCluster is what an agent has of Kubernetes.
type inCluster struct {
	cluster *kubeapi.Cluster
	feed    *kubeapi.Feed
	store   *kube.Store // once openResources was called
	secrets *secrets.Source
	node    *nodekube.Node
	agent   *agent.Agent // set before anything of this runs
	// objects is the log of what is wrong with objects: who writes those without end takes
	// its room from nobody's pods.
	objects *podlog.Log
}

// cluster connects to the API server; it need not answer.
func (o agentOptions) cluster(log *slog.Logger) (*inCluster, error) {
	kubeapi.LogTo(log)
	from := o.kubernetes.from
	if from == ownCluster {
		from = ""
	}
	c, err := kubeapi.Connect(from, "")
	if err != nil {
		return nil, hinted(fmt.Errorf("--kubernetes: %w", err), "in a pod its service account leads to the cluster; elsewhere name a kubeconfig: --kubernetes=FILE")
	}
	objects := podlog.New(log.Handler())
	k := &inCluster{
		cluster: c,
		feed:    c.Feed(kubeapi.FollowOptions{Journal: filepath.Join(o.ownState(), "cluster"), Log: log}),
		secrets: secrets.New(c, filepath.Join(o.runDir, "credentials"), objects.Pod()),
		objects: objects,
	}
	k.node = nodekube.New(c, k.feed, o.kubernetes.node, nodekube.Options{Nudge: func() { k.agent.Nudge() }, Log: log})
	k.node.Remember(filepath.Join(o.ownState(), "pods.json"))
	k.node.Ranges(o.ranges)
	k.node.Neighbours()
	if o.kubernetes.taint {
		k.node.Untaint(func() error { return takesPods(k.agent.Ready, filepath.Join(o.runDir, leaseName)) })
	}
	return k, nil
}

// takesPods says why the node should get no pods yet, nil when those that come are
// captured from their first packet: not only has the agent to be ready, also the plugin to
// be called.
func takesPods(agentReady func() error, lease string) error {
	if err := agentReady(); err != nil {
		return err
	}
	return install.InPlace(lease)
}

// join has an agent told what Kubernetes says of pods, and Kubernetes what the agent does.
func (k *inCluster) join(cfg *agent.Config) {
	cfg.RangesGrace = 10 * time.Second
	cfg.Cluster = func() (c agent.Cluster) {
		c.Away, c.Err = k.feed.Away()
		for _, kind := range k.store.Waiting() {
			c.Waiting = append(c.Waiting, kind.String())
		}
		return c
	}
	cfg.Known, cfg.News, cfg.Beside = k.node.Known, k.node.News, k.node.Beside
}

// credentials are a directory's where one is named, else the cluster's Secrets. Who writes
// resources of a cluster names none of the node's files but the system's authorities: the
// agent may read them all, other pods' keys and the kubelet's among them.
func (k *inCluster) credentials(c *cobra.Command, log *slog.Logger) (*credential.Store, error) {
	dir, err := credentialsDir(c)
	if k == nil || err != nil {
		return credentialStore(c, log)
	}
	store := credential.NewStore(k.secrets, log)
	if dir != "" {
		store = credential.NewStore(credential.Directory(dir), log)
	}
	store.Files = clusterFiles()
	return store, nil
}

// clusterFiles are those that a cluster's resources may name.
func clusterFiles() func(field, path string) error { return credential.Authorities(authorities()...) }

// policyMap is the ConfigMap with the cluster's policy, in the namespace that the agent's
// pod is in ($POD_NAMESPACE).
func policyMap() kubeapi.Key {
	return kubeapi.Key{Namespace: cmp.Or(os.Getenv("POD_NAMESPACE"), cluster.Namespace), Name: "sluice-policy"}
}

// policy is what the node's files say, and beneath it what the cluster does.
func (k *inCluster) policy(files selection.Source, log *slog.Logger) selection.Source {
	if k == nil {
		return files
	}
	source := namespaces.New(k.feed, policyMap(), k.objects.Pod())
	source.Said = k.node.Mistaken
	return selection.Sources(log, files, source)
}

// tasks run as long as the agent.
func (k *inCluster) tasks() map[string]func(context.Context) error {
	if k == nil {
		return nil
	}
	return map[string]func(context.Context) error{
		"following the cluster": k.feed.Run,
		"reading Secrets":       k.secrets.Run,
		"writing Events":        k.node.Run,
	}
}
