package kube

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/kubeapi"
)

// Taint is what a node begins with that is to get no pods before its agent serves: a
// node pool's or kubelet's setting gives it to the node (--register-with-taints).
const Taint = "sluice.dev/agent-not-ready"

// askReady is how often an agent that is not ready, on a node with the taint, is asked
// again, and how long it is to the next try after one failed.
const askReady = time.Second

// Untaint has the taint taken from this node as soon as ready returns nil. It is never
// put there: an agent that is away for a moment must not keep pods from its node, whose
// connections wait for it. It must be called before the Feed runs.
func (n *Node) Untaint(ready func() error) {
	var tainted atomic.Bool
	changed := make(chan struct{}, 1)
	n.feed.Follow(kubeapi.Nodes, kubeapi.Selector{Fields: "metadata.name=" + n.name}, func(d kubeapi.Delta) {
		for _, o := range d.Changed { // a remembered one too: that the server has the same is no news
			tainted.Store(hasTaint(o.JSON))
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})
	n.tasks = append(n.tasks, func(ctx context.Context) {
		said := ""
		timer := time.NewTimer(askReady)
		defer timer.Stop()
		for {
			if tainted.Load() {
				err := ready()
				if err == nil {
					tainted.Store(false) // before: what the server says from now on counts
					err = n.cluster.Change(ctx, kubeapi.Nodes, kubeapi.Key{Name: n.name}, withoutTaint)
					tainted.CompareAndSwap(false, err != nil)
				}
				if err == nil {
					n.log.Info("the agent is ready: its node takes pods", "taint", Taint, "node", n.name)
				} else if ctx.Err() == nil && err.Error() != said {
					said = err.Error()
					n.log.Warn("the node keeps its taint, and gets no pods", "taint", Taint, "why", err)
				}
			}
			var again <-chan time.Time
			if tainted.Load() {
				timer.Reset(askReady)
				again = timer.C
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			case <-again:
			}
		}
	})
}

func hasTaint(node []byte) bool {
	var o struct {
		Spec struct{ Taints []struct{ Key string } }
	}
	if json.Unmarshal(node, &o) != nil {
		return false
	}
	for _, t := range o.Spec.Taints {
		if t.Key == Taint {
			return true
		}
	}
	return false
}

// withoutTaint is the patch of a Node that takes the taint away, nil where it is not.
func withoutTaint(node map[string]any) map[string]any {
	spec, _ := node["spec"].(map[string]any)
	all, _ := spec["taints"].([]any)
	rest := []any{}
	for _, one := range all {
		if t, _ := one.(map[string]any); t == nil || t["key"] != Taint {
			rest = append(rest, one)
		}
	}
	if len(rest) == len(all) {
		return nil
	}
	return map[string]any{"spec": map[string]any{"taints": rest}}
}
