// Package kubeapi speaks to a Kubernetes API server: Feed follows kinds of objects and
// remembers them over restarts, Cluster's other methods read and write single ones. It
// hands objects on as JSON and knows nothing of what they mean. It is the only package
// that imports k8s.io/* (docs/decisions/0021-one-package-speaks-to-kubernetes.md).
//
//	c, err := kubeapi.Connect("", "")
//	f := c.Feed(kubeapi.FollowOptions{Journal: "/var/lib/sluice/agent/cluster"})
//	f.Follow(kubeapi.Namespaces, kubeapi.Selector{}, func(d kubeapi.Delta) { … })
//	err = f.Run(ctx)
package kubeapi

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// Cluster is one API server. Its methods may be called from many goroutines.
type Cluster struct {
	name      string
	namespace string
	config    *rest.Config
	rest      rest.Interface
	client    dynamic.Interface
	dryRun    bool
	warnings  func(string)
}

// Connect makes a Cluster without asking it anything: a server that is away is no error
// here. With "" and "" in a pod it is the pod's own cluster, by the service account's
// token, which is read again when the kubelet renews it. Else a kubeconfig says which:
// the file of that name, or with "" those of KUBECONFIG, or ~/.kube/config, as kubectl
// has it; context "" is the file's current one.
func Connect(kubeconfig, context string) (*Cluster, error) {
	if kubeconfig == "" && context == "" {
		config, err := rest.InClusterConfig()
		if err == nil {
			return connect(config, "", "")
		}
		if !errors.Is(err, rest.ErrNotInCluster) {
			return nil, fmt.Errorf("API server of this pod's cluster: %w; the pod needs a service account whose token is mounted", err)
		}
	}
	return ConnectAsKubectl(kubeconfig, context)
}

// ConnectAsKubectl is Connect for a person, who means what kubectl means: in a pod too a
// kubeconfig comes first, where there is one. The error is ErrNowhere where nothing says
// which cluster.
func ConnectAsKubectl(kubeconfig, context string) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: context})
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %q: %w", kubeconfig, err)
	}
	config, err := loader.ClientConfig() // in a pod, and without a kubeconfig, the pod's
	if err != nil && len(raw.Contexts) == 0 {
		if context != "" {
			return nil, fmt.Errorf("context %q: %w", context, ErrNowhere)
		}
		return nil, ErrNowhere
	}
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %q, context %q: %w", kubeconfig, cmp.Or(context, raw.CurrentContext), err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %q, context %q: namespace: %w", kubeconfig, cmp.Or(context, raw.CurrentContext), err)
	}
	return connect(config, cmp.Or(context, raw.CurrentContext), namespace)
}

func connect(config *rest.Config, name, namespace string) (*Cluster, error) {
	config = rest.CopyConfig(config)
	config.UserAgent = "sluice"
	// The API server has priorities and queues of its own; a bucket here would only make
	// a start late.
	config.QPS = -1
	if name == "" {
		name = config.Host
		if u, err := url.Parse(config.Host); err == nil && u.Host != "" {
			name = u.Host
		}
	}
	c := &Cluster{name: name, namespace: cmp.Or(namespace, metav1.NamespaceDefault), config: config}
	return c, c.dial()
}

// dial makes the client of config and warnings.
func (c *Cluster) dial() (err error) {
	c.config.WarningHandler = rest.NoWarnings{}
	if c.warnings != nil {
		c.config.WarningHandler = warner{c.warnings}
	}
	config := dynamic.ConfigFor(c.config)
	config.GroupVersion, config.APIPath = &schema.GroupVersion{}, "/" // each request has a path of its own
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return fmt.Errorf("API server %s: %w", c.name, err)
	}
	c.rest, c.client = client, dynamic.New(client)
	return nil
}

// Name is the kubeconfig's context, or the host: for messages.
func (c *Cluster) Name() string { return c.name }

// Namespace is the one that the kubeconfig's context names, or that the pod is in;
// "default" where none is named.
func (c *Cluster) Namespace() string { return c.namespace }

// DryRun is the same cluster with dryRun=All: what is written is checked by everybody
// who would check it, and not kept.
func (c *Cluster) DryRun() *Cluster {
	dry := *c
	dry.dryRun = true
	return &dry
}

// WithWarnings is the same cluster, which hands on what the API server warns of, as of
// an admission policy whose action is Warn. say may be called from any goroutine.
func (c *Cluster) WithWarnings(say func(text string)) (*Cluster, error) {
	told := *c
	told.config, told.warnings = rest.CopyConfig(c.config), say
	return &told, told.dial()
}

type warner struct{ say func(string) }

// HandleWarningHeader takes only what is an API server's own: code 299 (RFC 9111 took
// the others out).
func (w warner) HandleWarningHeader(code int, _ string, text string) {
	if code == 299 && text != "" {
		w.say(text)
	}
}

// LogTo has what the Kubernetes libraries log go to a logger, and not to standard error
// in a form of its own. It is for the whole process: call it before Connect, and not while
// somebody uses a Cluster.
func LogTo(log *slog.Logger) { klog.SetLogger(logr.FromSlogHandler(log.Handler())) }
