package chart_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/apiserver"
	"github.com/sluice-cni/sluice/internal/await"
)

// keepsItsNamespace: it is not deleted as long as there is the agents' DaemonSet.
func keepsItsNamespace(t *testing.T, s *apiserver.Server) {
	remove := func(namespace string) (string, error) {
		return kubectl(s, "", "delete", "namespace", namespace, "--dry-run=server")
	}
	await.True(t, "the namespace is protected", func() bool {
		out, err := remove("sluice-system")
		return err != nil && strings.Contains(out, "take sluice out first")
	})
	if out, err := remove("shop"); err != nil {
		t.Errorf("of another: %s", out)
	}
	if out, err := kubectl(s, "", "--namespace", "sluice-system", "delete", "daemonset", "sluice-agent", "--cascade=background"); err != nil {
		t.Fatal(out)
	}
	await.True(t, "it may be deleted without agents", func() bool {
		_, err := remove("sluice-system")
		return err == nil
	})
}

// changesItsTaintAlone: an agent's token takes the taint from its own Node, and changes
// nothing else of it, nor another's.
func changesItsTaintAlone(t *testing.T, s *apiserver.Server) {
	const taints = `[{"key":"sluice.dev/agent-not-ready","effect":"NoSchedule"},{"key":"team.test/own","effect":"NoSchedule"}]`
	for _, name := range []string{"node1", "node2"} {
		s.Apply(fmt.Sprintf("apiVersion: v1\nkind: Node\nmetadata: {name: %s, labels: {pool: a}}\nspec: {podCIDR: 10.0.0.0/24, podCIDRs: [10.0.0.0/24]}\n", name))
		if out, err := kubectl(s, "", "patch", "node", name, "--type=merge", "--patch", `{"spec":{"taints":`+taints+`}}`); err != nil { // the server has added one of its own
			t.Fatal(out)
		}
	}
	s.Apply("apiVersion: v1\nkind: Pod\nmetadata: {name: agent, namespace: sluice-system}\nspec: {nodeName: node1, serviceAccountName: sluice-agent, containers: [{name: c, image: i}]}\n")
	config := withToken(t, s, "sluice-agent", "--bound-object-kind=Pod", "--bound-object-name=agent")
	patch := func(node, patch string) (string, error) {
		return kubectl(s, "", "--kubeconfig="+config, "patch", "node", node, "--type=merge", "--patch", patch)
	}
	await.True(t, "an agent's change is judged", func() bool {
		_, err := patch("node2", `{"metadata":{"labels":{"pool":"b"}}}`)
		return err != nil
	})
	const rest = `{"spec":{"taints":[{"key":"team.test/own","effect":"NoSchedule"}]}}`
	for _, c := range []struct{ node, patch, says string }{
		{"node2", rest, "no Node but its own"},
		{"node1", `{"spec":{"taints":[]}}`, "but take the taint"},
		{"node1", `{"spec":{"taints":[{"key":"team.test/other","effect":"NoSchedule"}]}}`, "but take the taint"},
		{"node1", `{"spec":{"unschedulable":true}}`, "but take the taint"},
		{"node1", `{"spec":{"providerID":"another"}}`, "but take the taint"},
		{"node1", `{"metadata":{"labels":{"pool":"b"}}}`, "but take the taint"},
		{"node1", `{"metadata":{"annotations":{"a":"b"}}}`, "but take the taint"},
		{"node1", rest, ""},
		{"node1", `{"spec":{"taints":` + taints + `}}`, "but take the taint"},
	} {
		if out, err := patch(c.node, c.patch); (err != nil) != (c.says != "") || !strings.Contains(out, c.says) {
			t.Errorf("%s %s: %v %s; want %q", c.node, c.patch, err, out, c.says)
		}
	}
	if out, err := kubectl(s, "", "label", "node", "node1", "pool=b", "--overwrite"); err != nil {
		t.Errorf("of others it says: %s", out)
	}
}
