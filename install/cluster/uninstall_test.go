package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/kubeapi/apitest"
)

const leavingSet = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: sluice-uninstall, namespace: sluice-system}
spec:
  selector: {matchLabels: {app: uninstall}}
  template: {metadata: {labels: {app: uninstall}}, spec: {containers: [{name: done}]}}
`

var leavingKey = kubeapi.Key{Namespace: "sluice-system", Name: "sluice-uninstall"}

// controlled plays the controller: it has seen the DaemonSet, which is for so many nodes.
func controlled(s *apitest.Server, desired int) {
	s.Put(kubeapi.DaemonSets, fmt.Sprintf(`{"metadata":{"namespace":"sluice-system","name":"sluice-uninstall"},"spec":{"selector":{"matchLabels":{"app":"uninstall"}},
		"template":{"metadata":{"annotations":{%q:%q}}}},"status":{"observedGeneration":99,"desiredNumberScheduled":%d}}`, runAnnotation, runOf(s), desired))
}

// runOf is the pass whose pods the DaemonSet makes now, "" when there is none.
func runOf(s *apitest.Server) string {
	var o struct {
		Spec struct {
			Template struct {
				Metadata struct{ Annotations map[string]string }
			}
		}
	}
	json.Unmarshal(s.Object(kubeapi.DaemonSets, leavingKey), &o)
	return o.Spec.Template.Metadata.Annotations[runAnnotation]
}

// onNode is a pod of the DaemonSet, of the pass that is under way.
func onNode(s *apitest.Server, node, phase string) {
	s.Put(kubeapi.Pods, fmt.Sprintf(`{"metadata":{"namespace":"sluice-system","name":"on-%s","ownerReferences":[{"kind":"DaemonSet","name":"sluice-uninstall"}],"labels":{"app":"uninstall"},"annotations":{%q:%q}},"spec":{"nodeName":"%[1]s"},"status":{"phase":"%[4]s"}}`,
		node, runAnnotation, runOf(s), phase))
}

// uninstalling runs it; pass plays the controller in each pass, of which this is the n-th.
func uninstalling(t *testing.T, s *apitest.Server, wait time.Duration, pass func(n int)) (string, error) {
	t.Helper()
	set, err := ReadManifest([]byte(leavingSet))
	if err != nil {
		t.Fatal(err)
	}
	running, ended := context.WithCancel(t.Context())
	var controlling sync.WaitGroup
	controlling.Go(func() {
		last := ""
		for n := 1; ; n++ {
			begins := func() bool { run := runOf(s); return run != "" && run != last || running.Err() != nil }
			if !await.Within(await.Patience, begins) || running.Err() != nil {
				return
			}
			last = runOf(s)
			pass(n)
		}
	})
	controlling.Go(func() { // with the DaemonSet its pods go
		there := false
		await.Within(await.Patience, func() bool {
			there = there || runOf(s) != ""
			return there && runOf(s) == "" || running.Err() != nil
		})
		pods, err := s.Cluster().List(t.Context(), kubeapi.Pods, kubeapi.Selector{Labels: "app=uninstall"})
		if err != nil || runOf(s) != "" {
			return
		}
		for _, p := range pods {
			s.Remove(kubeapi.Pods, p.Key)
		}
	})
	said := ""
	err = Uninstall{Cluster: s.Cluster(), Set: set, Agents: []string{"agents"}, Say: func(text string) { said += text + "\n" }, Wait: wait, every: 10 * time.Millisecond}.Run(t.Context())
	ended()
	controlling.Wait()
	return said, err
}

func TestUninstallOfAClusterWaitsForEveryNode(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	said, err := uninstalling(t, s, 20*time.Second, func(int) {
		controlled(s, 2)
		onNode(s, "a", "Running")
		onNode(s, "b", "Pending")
		s.Stop() // the API server may go meanwhile
		s.Start()
		onNode(s, "b", "Running")
	})
	if err != nil || !strings.Contains(said, "sluice-uninstall created") || !strings.HasSuffix(said, "2 of 2 nodes done\nDaemonSet sluice-system/sluice-uninstall deleted\n") {
		t.Errorf("%v\n%s", err, said)
	}
	if s.Object(kubeapi.DaemonSets, leavingKey) != nil {
		t.Error("the DaemonSet is there still")
	}
}

// The pod of a node that was deleted runs on for a minute, as far as the API server knows.
func TestUninstallOfAClusterCountsNoNodeForAnother(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.Nodes, `{"metadata":{"name":"b"}}`)
	_, err := uninstalling(t, s, 300*time.Millisecond, func(int) {
		onNode(s, "deleted", "Running")
		onNode(s, "b", "Pending")
		controlled(s, 1)
	})
	if err == nil || !strings.Contains(err.Error(), "node b: pod on-b is Pending") {
		t.Errorf("node b is passed over: %v", err)
	}
}

func TestUninstallOfAClusterNamesTheNodesThatAreNotDone(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Put(kubeapi.Nodes, `{"metadata":{"name":"b"},"spec":{"taints":[{"key":"node.kubernetes.io/unreachable","effect":"NoExecute"}]}}`, `{"metadata":{"name":"c"}}`)
	s.Put(kubeapi.Events, `{"metadata":{"namespace":"sluice-system","name":"e"},"involvedObject":{"kind":"DaemonSet","name":"sluice-uninstall"},"reason":"FailedCreate","message":"pods \"x\" is forbidden: violates PodSecurity","lastTimestamp":"2026-01-01T00:00:00Z"}`)
	_, err := uninstalling(t, s, 300*time.Millisecond, func(int) {
		controlled(s, 4)
		onNode(s, "a", "Running")
		onNode(s, "b", "Pending")
		onNode(s, "c", "Pending")
	})
	for _, part := range []string{"node b (unreachable): pod on-b is Pending", "node c: pod on-c is Pending", "not every node has a pod: pods \"x\" is forbidden: violates PodSecurity"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("it does not say %q: %v", part, err)
		}
	}
	if strings.Contains(fmt.Sprint(err), "node a") {
		t.Errorf("a node that is done is named: %v", err)
	}
	if s.Object(kubeapi.DaemonSets, leavingKey) == nil {
		t.Error("the DaemonSet does not go on")
	}
}

// While the slowest node is waited for an agent may start anew on one that is done, and a
// node may come: what began there is over only when nobody can begin any more.
func TestUninstallOfAClusterEndsTheAgentsAndIsDoneOnceMore(t *testing.T) {
	t.Parallel()
	t.Run("first time", func(t *testing.T) { endsTheAgents(t, true) })
	t.Run("begun before", func(t *testing.T) { endsTheAgents(t, false) })
}

// endsTheAgents: of the agents there is the DaemonSet, or a pod that an earlier run did not
// wait for.
func endsTheAgents(t *testing.T, set bool) {
	t.Parallel()
	s := apitest.New(t)
	agents := kubeapi.Key{Namespace: "sluice-system", Name: "agents"}
	if set {
		s.Put(kubeapi.DaemonSets, `{"metadata":{"namespace":"sluice-system","name":"agents"},"spec":{"selector":{"matchLabels":{"app":"agent"}}}}`)
	}
	agent := kubeapi.Key{Namespace: "sluice-system", Name: "agent-1"}
	s.Put(kubeapi.Pods, `{"metadata":{"namespace":"sluice-system","name":"agent-1","labels":{"app":"agent"},"ownerReferences":[{"kind":"DaemonSet","name":"agents"}]}}`, `{"metadata":{"namespace":"sluice-system","name":"other","labels":{"app":"other"}}}`)
	passes := 0
	said, err := uninstalling(t, s, 20*time.Second, func(n int) {
		passes = n
		there := s.Object(kubeapi.DaemonSets, agents) != nil || s.Object(kubeapi.Pods, agent) != nil
		if first := n == 1; there != first {
			t.Errorf("pass %d begins, and agents are there: %t", n, there)
		}
		run := runOf(s)
		controlled(s, 1)
		onNode(s, "a", "Running")
		if n > 1 {
			return
		}
		if !await.Within(await.Patience, func() bool { return s.Object(kubeapi.DaemonSets, agents) == nil }) {
			t.Error("the agents stay")
		}
		// When the second comes, the first has found the agent's pod and nothing was begun for it.
		asked := s.Asked("list", kubeapi.Pods)
		if !await.Within(await.Patience, func() bool { return s.Asked("list", kubeapi.Pods) >= asked+2 || runOf(s) != run }) {
			t.Error("nobody looks whether the agents' pods are gone")
		}
		if runOf(s) != run {
			t.Error("an agent is there still, and what it may have begun is looked for")
		}
		s.Remove(kubeapi.Pods, agent)
	})
	if err != nil || passes != 2 || strings.Count(said, "1 of 1 node done") != 2 || s.Object(kubeapi.DaemonSets, leavingKey) != nil {
		t.Errorf("%v, after %d passes\n%s", err, passes, said)
	}
}

// One request that is lost ends nothing.
func TestUninstallOfAClusterAsksAgainWhereTheAPIServerIsAwayAtFirst(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	s.Stop()
	time.AfterFunc(50*time.Millisecond, s.Start)
	said, err := uninstalling(t, s, 20*time.Second, func(int) {
		controlled(s, 1)
		onNode(s, "a", "Running")
	})
	if err != nil || !strings.Contains(said, "connection refused\n") {
		t.Errorf("%v\n%s", err, said)
	}
}

// A DaemonSet that an earlier run left has pods that are ready since then: they say nothing
// of the nodes as they are now.
func TestUninstallOfAClusterMakesThePodsOfAnEarlierRunAnew(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	template := func() string {
		o, err := s.Cluster().Get(t.Context(), kubeapi.DaemonSets, leavingKey)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Spec struct{ Template json.RawMessage }
		}
		if err := json.Unmarshal(o.JSON, &d); err != nil {
			t.Fatal(err)
		}
		return string(d.Spec.Template)
	}
	seen := map[string]bool{}
	for range 2 {
		_, err := uninstalling(t, s, 200*time.Millisecond, func(int) {})
		if err == nil {
			t.Fatal("done without a word of a controller")
		}
		seen[template()] = true
	}
	if len(seen) != 2 {
		t.Errorf("both runs have the template %v", seen)
	}
}

func TestADaemonSetIsReadStrictly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"kind: Deployment":                     `kind: value "Deployment": must be DaemonSet`,
		"kind: DaemonSet\nmetadata: {name: a}": "metadata: name and namespace must be there",
		"[":                                    "yaml",
		"kind: DaemonSet\nmetadata: {namespace: 1}": "Namespace",
	} {
		if _, err := ReadManifest([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
