// Package kube is what a node's agent has of Kubernetes beside resources and policy: the
// newest word about the node's pods, the cluster's ranges for includeIPRanges auto, and
// Events for what people should see where they look. It reads through a kubeapi.Feed and
// writes Events, and on request the Node's taints.
package kube

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/selection"
)

// Options are what a Node needs; the zero value does.
type Options struct {
	// Nudge has the agent look through the node: a pod that Kubernetes speaks of may have
	// begun, or is another now. It must not wait. nil: nobody does.
	Nudge func()
	// LookAtNodes is how often Ranges lists the cluster's Nodes, more seldom where there
	// are many; 0: each five minutes.
	LookAtNodes time.Duration
	Log         *slog.Logger // nil: slog.Default()
}

// Node is one node of a cluster, as its agent needs it.
type Node struct {
	name    string
	often   time.Duration // Options.LookAtNodes
	cluster *kubeapi.Cluster
	feed    *kubeapi.Feed
	log     *slog.Logger
	nudge   func()
	events  *Events
	memory  *memory
	tasks   []func(context.Context)

	listed  chan struct{} // closed when the pods were told for the first time
	tell    func()        // closes it
	patient func()        // begins what bounds how long that is waited for

	mu     sync.Mutex
	pods   map[kubeapi.Key]*pod
	beside []string
	hashes []uint64 // of all nodes' names, as Ranges last listed them
	heard  bool     // the server has said which pods there are
}

// firstWait bounds how long the first pods are waited for: an agent that has just begun
// must not let a pod go that was labelled since its sandbox was made, only because the
// runtime's word comes first. The core keeps a pod as it is for ten seconds.
const firstWait = 5 * time.Second

// New follows this node's pods with f, which must not run yet.
func New(c *kubeapi.Cluster, f *kubeapi.Feed, node string, o Options) *Node {
	n := &Node{
		name: node, often: cmp.Or(o.LookAtNodes, lookAtNodes), cluster: c, feed: f, log: o.Log, nudge: o.Nudge,
		listed: make(chan struct{}), pods: map[kubeapi.Key]*pod{},
	}
	if n.log == nil {
		n.log = slog.Default()
	}
	if n.nudge == nil {
		n.nudge = func() {}
	}
	n.tell = sync.OnceFunc(func() { close(n.listed) })
	n.patient = sync.OnceFunc(func() { time.AfterFunc(firstWait, n.tell) })
	n.events, n.memory = newEvents(c, node, n.nodes, n.log), newMemory()
	f.Follow(kubeapi.Pods, kubeapi.Selector{Fields: "spec.nodeName=" + node}, n.podsChanged)
	return n
}

// Events is where what people should see is said.
func (n *Node) Events() *Events { return n.events }

// nodes are the hashes of all that are known.
func (n *Node) nodes() []uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hashes
}

// Known is agent.Config's.
func (n *Node) Known(p selection.Pod) (selection.Pod, bool) {
	n.patient()
	<-n.listed
	n.mu.Lock()
	defer n.mu.Unlock()
	of := n.of(p.Namespace, p.Name, p.UID)
	if of == nil {
		last, known := n.memory.get(p.UID)
		if known && !n.heard { // the server is away since this agent began
			p.Labels, p.Annotations, p.Sidecar = last.Labels, last.Annotations, last.Sidecar
			return p, true
		}
		return p, false
	}
	of.seen = true
	n.memory.compare(of, p)
	p.Labels, p.Annotations, p.Sidecar = of.labels, of.annotations, of.sidecar
	return p, true
}

// Run does what New and the other methods began, until ctx ends; then it returns nil. The
// Feed is its owner's to run.
func (n *Node) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, task := range append(n.tasks, n.events.run) {
		all.Go(func() { task(ctx) })
	}
	all.Wait()
	return nil
}
