package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

// deployed is a DaemonSet of the chart's, up to date and ready on so many of three nodes.
func deployed(name string, updated, ready int) string {
	return fmt.Sprintf(`{"metadata":{"namespace":"sluice-system","name":%q,"labels":{"app.kubernetes.io/name":"sluice"}},"spec":{"selector":{"matchLabels":{"of":%[1]q}}},
		"status":{"observedGeneration":99,"desiredNumberScheduled":3,"updatedNumberScheduled":%d,"numberReady":%d}}`, name, updated, ready)
}

func TestTheStatusOfAClusterNamesTheNodesThatAreNotReady(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "")
	s := apitest.New(t)
	status := func() (string, string, int) {
		return runSluice(t, "status", "cluster", "--kubeconfig", s.Kubeconfig())
	}
	if _, errs, code := status(); code != 1 || !strings.Contains(errs, "has no DaemonSet of sluice") {
		t.Errorf("exit %d where sluice is not: %s", code, errs)
	}
	s.Put(kubeapi.DaemonSets, deployed("sluice-agent", 3, 1), deployed("sluice-holder", 3, 3), `{"metadata":{"namespace":"sluice-system","name":"other"}}`)
	pod := `{"metadata":{"namespace":"sluice-system","name":%q,"labels":{"of":"sluice-agent"}},"spec":{"nodeName":%q},"status":%s}`
	s.Put(kubeapi.Pods,
		fmt.Sprintf(pod, "agent-a", "a", `{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}`),
		fmt.Sprintf(pod, "agent-b", "b", `{"phase":"Running","conditions":[{"type":"Ready","status":"False","message":"containers with unready status: [installer]"}]}`),
		fmt.Sprintf(pod, "agent-c", "", `{"phase":"Pending"}`))
	const table = `DAEMONSET       NODES   READY   UP TO DATE
sluice-agent    3       1       3
sluice-holder   3       3       3

node b: pod agent-b: containers with unready status: [installer]
node -: pod agent-c: Pending
`
	if out, errs, code := status(); code != 1 || out != table || !strings.Contains(errs, "DaemonSet sluice-agent: is ready on 1 of 3 nodes") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	// A rollout that stands still has an older pod on the node, which is ready.
	s.Put(kubeapi.DaemonSets, deployed("sluice-agent", 1, 3))
	if out, errs, code := status(); code != 1 || !strings.Contains(out, "node -: pod agent-c: Pending") || !strings.Contains(errs, "DaemonSet sluice-agent: is up to date on 1 of 3 nodes") {
		t.Errorf("exit %d while a rollout stands still\n%s%s", code, out, errs)
	}
	s.Put(kubeapi.DaemonSets, deployed("sluice-agent", 3, 3))
	if out, errs, code := status(); code != 0 || errs != "" || strings.Contains(out, "node ") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	policy := `{"metadata":{"namespace":"sluice-system","name":"sluice-policy"},"data":{"20-values.yaml":"defaults: {excludeIPRanges: %s}"}}`
	s.Put(kubeapi.ConfigMaps, fmt.Sprintf(policy, "10.0.0.300"))
	if out, errs, code := status(); code != 1 || out == "" || !strings.Contains(errs, "ConfigMap sluice-policy: not in force") || !strings.Contains(errs, "10.0.0.300") || strings.Contains(errs, "hint") {
		t.Errorf("exit %d for a policy that is not in force\n%s%s", code, out, errs)
	}
	s.Put(kubeapi.ConfigMaps, fmt.Sprintf(policy, "10.0.0.30"))
	if out, errs, code := status(); code != 0 || errs != "" {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	s.Refuse(kubeapi.DaemonSets, 403)
	if _, errs, code := status(); code != 1 || !strings.Contains(errs, "hint: --kubeconfig names one whose user may") {
		t.Errorf("exit %d for who may not look: %s", code, errs)
	}
	if _, errs, code := runSluice(t, "status", "cluster", "shop/web"); code != 2 {
		t.Errorf("exit %d for a pod: %s", code, errs)
	}
}
