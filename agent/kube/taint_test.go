package kube_test

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-cni/sluice/agent/kube"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/heard"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

// untainting runs an agent that takes its node's taint: how often it was asked whether it
// is ready, and whether it is.
func untainting(t *testing.T, server *apitest.Server, log *slog.Logger) (asked, ready *atomic.Int32) {
	t.Helper()
	asked, ready = new(atomic.Int32), new(atomic.Int32)
	start(t, server, kube.Options{Log: log}, func(n *kube.Node) {
		n.Untaint(func() error {
			asked.Add(1)
			if ready.Load() == 0 {
				return errors.New("not yet")
			}
			return nil
		})
	})
	return asked, ready
}

func TestTheTaintGoesWhenTheAgentIsReady(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	const taints = `{"metadata":{"name":"NAME"},"spec":{"podCIDR":"10.0.0.0/24","taints":[{"key":"sluice.dev/agent-not-ready","effect":"NoSchedule"},{"key":"other","effect":"NoExecute"}]}}`
	server.Put(kubeapi.Nodes, strings.ReplaceAll(taints, "NAME", "worker"), strings.ReplaceAll(taints, "NAME", "elsewhere"))
	log := &heard.Text{}
	asked, ready := untainting(t, server, slog.New(slog.NewTextHandler(log, nil)))
	tainted := func(name string) bool {
		return strings.Contains(string(server.Object(kubeapi.Nodes, kubeapi.Key{Name: name})), "agent-not-ready")
	}
	await.True(t, "why the taint stays is said", func() bool {
		return asked.Load() > 0 && strings.Contains(log.String(), `msg="the node keeps its taint, and gets no pods"`) && strings.Contains(log.String(), `why="not yet"`)
	})
	if !tainted("worker") {
		t.Error("gone before the agent was ready")
	}
	ready.Store(1)
	await.True(t, "the taint is gone", func() bool { return !tainted("worker") })
	if o := string(server.Object(kubeapi.Nodes, kubeapi.Key{Name: "worker"})); !strings.Contains(o, `"other"`) || !strings.Contains(o, "10.0.0.0/24") {
		t.Error(o)
	}
	if !tainted("elsewhere") {
		t.Error("another node's was taken")
	}
	// The node is made anew, by its name.
	server.Put(kubeapi.Nodes, strings.ReplaceAll(taints, "NAME", "worker"))
	await.True(t, "the taint is gone again", func() bool { return !tainted("worker") })
}

// An agent that is started again before it took the taint has the very same Node from its
// journal as from the server: that is no news, and the taint goes all the same.
func TestTheTaintGoesThoughTheNodeIsKnownFromBefore(t *testing.T) {
	t.Parallel()
	server, journal := apitest.New(t), t.TempDir()
	server.Put(kubeapi.Nodes, `{"metadata":{"name":"worker"},"spec":{"taints":[{"key":"sluice.dev/agent-not-ready","effect":"NoSchedule"}]}}`)
	run := func(ready func() error) (stop func()) {
		_, stop = startAndStop(t, server, kubeapi.FollowOptions{Journal: journal}, kube.Options{}, func(n *kube.Node) { n.Untaint(ready) })
		return stop
	}
	var asked atomic.Int32
	stop := run(func() error { asked.Add(1); return errors.New("not yet") })
	await.True(t, "it was asked", func() bool { return asked.Load() > 0 })
	stop()
	run(func() error { return nil })
	await.True(t, "the taint is gone", func() bool {
		return !strings.Contains(string(server.Object(kubeapi.Nodes, kubeapi.Key{Name: "worker"})), "agent-not-ready")
	})
}

// A server that refuses for a while what it is asked does not leave the node without pods.
func TestATaintThatCannotBeTakenIsTakenLater(t *testing.T) {
	t.Parallel()
	server := apitest.New(t)
	server.Put(kubeapi.Nodes, `{"metadata":{"name":"worker"},"spec":{"taints":[{"key":"sluice.dev/agent-not-ready","effect":"NoSchedule"}]}}`)
	asked, ready := untainting(t, server, nil)
	await.True(t, "the taint is known", func() bool { return asked.Load() > 0 })
	server.Refuse(kubeapi.Nodes, 500)
	ready.Store(1)
	before := asked.Load()
	await.True(t, "it is tried again", func() bool { return asked.Load() >= before+3 })
	server.Refuse(kubeapi.Nodes, 0)
	await.True(t, "the taint is gone", func() bool {
		return !strings.Contains(string(server.Object(kubeapi.Nodes, kubeapi.Key{Name: "worker"})), "agent-not-ready")
	})
}
