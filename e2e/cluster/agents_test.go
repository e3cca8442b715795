package cluster_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/world"
)

// An agent that cannot run is a usual reason to take sluice out: its pods are let go all the
// same.
func TestAnAgentThatCannotRunIsUninstalled(t *testing.T) {
	l := newLoad(t)
	l.govern("agent.drainSeconds=5")
	l.streamsEnd()
	l.Must("-n", world.Namespace, "set", "image", "daemonset/sluice-agent", "agent=sluice.test/none:1")
	l.Must("-n", world.Namespace, "delete", "pods", "-l", "app.kubernetes.io/component=agent", "--timeout=2m")
	if out, err := l.Helm("uninstall", "sluice", "--namespace", world.Namespace, "--wait", "--timeout", "5m"); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, l.Describe(world.Namespace))
	}
	if _, err := l.Exec("load", "deployment/callers", "curl -sk -m 5 -o /dev/null https://www.google.com/"); err != nil {
		t.Errorf("a pod is governed after uninstalling: %v", err)
	}
}

// The agents of a DaemonSet overlap at an upgrade, and the kubelet starts again what ends.
// None is: the old pod's agent stands by until its pod is deleted. On a node with both
// versions of cgroups the agent's container has version 2 all the same.
func TestAnAgentsUpgradeStartsNothingAgain(t *testing.T) {
	w := world.New(t, world.Options{})
	w.Install()
	agents := func(query string) string {
		return w.Must("-n", world.Namespace, "get", "pods", "-l", "app.kubernetes.io/component=agent", "-o", "jsonpath={"+query+"}")
	}
	known := func() {
		t.Helper()
		if log := w.Must("-n", world.Namespace, "logs", "daemonset/sluice-agent", "-c", "agent"); !strings.Contains(log, "the pods' rules know this agent by its cgroup") {
			t.Errorf("the agent is known by a mark:\n%s", log)
		}
	}
	known()
	for range 2 {
		before := agents(".items[*].metadata.uid")
		w.Must("-n", world.Namespace, "rollout", "restart", "daemonset/sluice-agent")
		w.Rollout(world.Namespace, "daemonset/sluice-agent")
		w.Eventually("one agent is left, another one", func() error {
			if now := agents(".items[*].metadata.uid"); now == before || strings.Contains(now, " ") {
				return fmt.Errorf("pods %q, before %q", now, before)
			}
			return nil
		})
		if restarts := agents(".items[*].status.containerStatuses[*].restartCount"); strings.Trim(restarts, "0 ") != "" {
			t.Errorf("containers were started again: %s", restarts)
		}
		known()
	}
	// Each came once.
	holder := w.Must("-n", world.Namespace, "logs", "daemonset/sluice-holder")
	if came := strings.Count(holder, `msg="agent came"`); came != 3 {
		t.Errorf("%d agents came for 3 pods:\n%s", came, holder)
	}
}
