package cluster_test

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/suite"
	"github.com/sluice-cni/sluice/e2e/cluster/world"
	node "github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/e2e/tiers"
)

// scenarios runs the suite at full size, and without -full some scenarios of it.
func scenarios(t *testing.T, w *world.World, names ...string) {
	t.Helper()
	if *full {
		suite.Run(t, w.Kubeconfig())
		return
	}
	suite.Tiers(t, w.Kubeconfig(), names...)
}

// Kustomize installs and takes out what the chart does, on a node as nodes were for years:
// with containerd 1.6, which knows no drop-ins for a network configuration, and a
// kube-proxy that uses iptables.
func TestKustomizeOnAnOlderNode(t *testing.T) {
	w := world.New(t, world.Options{ProxyMode: "iptables", Containerd: node.Containerd1})
	tiers.Act(w.Internet)
	before := entries(t, world.ConfDir)
	w.InstallByKustomize()
	scenarios(t, w, "rules", "selected while it runs")
	refuses(t, w)
	w.UninstallByKustomize()
	takenOut(t, w, before)
}

// refuses applies the hook of helm's uninstall, as who applies all that a chart renders does:
// it is no uninstallation of what helm has not installed.
func refuses(t *testing.T, w *world.World) {
	t.Helper()
	hook := w.Template("uninstall.yaml")
	if _, err := w.KubectlIn(hook, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	w.Must("-n", world.Namespace, "wait", "--for=condition=Failed", "job/sluice-uninstall", "--timeout=2m")
	if said := w.Must("-n", world.Namespace, "logs", "job/sluice-uninstall"); !strings.Contains(said, "no release of helm has made it") {
		t.Errorf("the hook says\n%s", said)
	}
	if sets := w.Must("-n", world.Namespace, "get", "daemonsets", "-o", "name"); strings.Count(sets, "\n") != 2 || strings.Contains(sets, "uninstall") {
		t.Errorf("the hook has left the DaemonSets\n%s", sets)
	}
	if _, err := w.KubectlIn(hook, "delete", "-f", "-"); err != nil {
		t.Error(err)
	}
}

// A pod that was made before sluice is not scheduled before its node's agent is ready, so
// that none of its connections goes by.
func TestAReadinessTaintHoldsPodsBack(t *testing.T) {
	w := world.New(t, world.Options{})
	tiers.Act(w.Internet)
	w.Must("taint", "node", world.NodeName, "sluice.dev/agent-not-ready=true:NoSchedule")
	w.Must("label", "namespace", "default", "sluice.dev/inject=true")
	if _, err := w.KubectlIn(suite.Sleep(world.App), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	w.Install("readinessTaint=true")
	w.Rollout("default", "deployment/sleep")
	if out, err := w.Exec("default", "deployment/sleep", "curl -s -m 10 -o /dev/null -w '%{http_code}' http://httpbin.org/headers"); err != nil || out != "502" {
		t.Errorf("%q, %v; want 502", out, err)
	}
	if n := w.Internet.Connections("httpbin.org"); n != 0 {
		t.Errorf("%d connections have reached a host that nobody registers", n)
	}
	if taints := w.Must("get", "node", world.NodeName, "-o", "jsonpath={.spec.taints[*].key}"); strings.Contains(taints, "sluice.dev") {
		t.Errorf("the node has the taints %s", taints)
	}
}
