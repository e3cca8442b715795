package suite

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/tiers"
	"github.com/sluice-cni/sluice/internal/await"
)

// tier is a namespace of a cluster as a tier of e2e/tiers: all by kubectl.
type tier struct{ n *namespace }

func (k tier) Pod(t *testing.T, name string, annotations map[string]string) (tiers.Pod, error) {
	t.Helper()
	await.Silence(k.n.t, func() string { // without it no pod is admitted
		if _, err := k.n.try("", "get", "serviceaccount", "default"); err != nil {
			return err.Error()
		}
		return ""
	})
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": name, "annotations": annotations},
		"spec": map[string]any{
			"terminationGracePeriodSeconds": 0,
			"containers": []any{map[string]any{
				"name": "sleep", "image": appImage(), "imagePullPolicy": "IfNotPresent", "command": []string{"sleep", "infinity"},
			}},
		},
	})
	if err != nil {
		return nil, err
	}
	if _, err := k.n.try(string(manifest), "apply", "-f", "-"); err != nil {
		return nil, err
	}
	if _, err := k.n.try("", "wait", "--for=condition=Ready", "pod/"+name, "--timeout="+patience.String()); err != nil {
		events, _ := k.n.try("", "get", "events", "--field-selector=involvedObject.name="+name, "-o", "jsonpath={.items[*].message}")
		return nil, fmt.Errorf("%w\n%s", err, events)
	}
	return kubernetesPod{k.n, name}, nil
}

func (k tier) Select(t *testing.T, yes bool) {
	t.Helper()
	if yes {
		k.n.kubectl("", "label", "namespace", k.n.name, "sluice.dev/inject=true")
	} else {
		k.n.kubectl("", "label", "namespace", k.n.name, "sluice.dev/inject-")
	}
}

func (k tier) Apply(t *testing.T, yaml string) {
	t.Helper()
	k.n.kubectl(yaml, "apply", "-f", "-")
}

func (k tier) Withdraw(t *testing.T, yaml string) {
	t.Helper()
	k.n.kubectl(yaml, "delete", "--ignore-not-found", "-f", "-")
}

// ReplaceAgent is what `kubectl rollout restart` does, on every node. It does not wait for
// the pods that are replaced, as `kubectl rollout status` does: they end when the last
// connection that they carry does.
func (k tier) ReplaceAgent(t *testing.T) {
	t.Helper()
	found := k.n.kubectl("", "get", "daemonset", "--all-namespaces", "-l", "app.kubernetes.io/name=sluice,app.kubernetes.io/component=agent",
		"-o", `jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}`)
	namespace, name, one := strings.Cut(strings.TrimSpace(found), " ")
	if !one {
		t.Fatalf("sluice's agents are %q; want one DaemonSet", found)
	}
	agents := *k.n
	agents.name = namespace
	ready := func() (pods []string) {
		for line := range strings.Lines(agents.kubectl("", "get", "pods", "-l", "app.kubernetes.io/name=sluice,app.kubernetes.io/component=agent",
			"-o", `jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)) {
			if pod, is, _ := strings.Cut(line, " "); strings.TrimSpace(is) == "True" {
				pods = append(pods, pod)
			}
		}
		return pods
	}
	before := ready()
	agents.kubectl("", "rollout", "restart", "daemonset/"+name)
	await.Silence(k.n.t, func() string {
		if now := slices.DeleteFunc(ready(), func(pod string) bool { return slices.Contains(before, pod) }); len(now) < len(before) {
			return fmt.Sprintf("%d of %d nodes have another agent that is ready", len(now), len(before))
		}
		return ""
	})
}

// kubernetesPod is a pod with one container.
type kubernetesPod struct {
	n    *namespace
	name string
}

func (p kubernetesPod) Bash(commands string) (string, error) { return p.n.bash(p.name, commands) }

func (p kubernetesPod) Started() string {
	p.n.t.Helper()
	return strings.TrimSpace(p.n.kubectl("", "get", "pod", p.name, "-o",
		"jsonpath={.metadata.uid} {.status.containerStatuses[*].restartCount} {.status.containerStatuses[*].containerID}"))
}
