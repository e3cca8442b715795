package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

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

// counted is the DaemonSet as the controller answers.
func counted(desired, ready int) string {
	return fmt.Sprintf(`{"metadata":{"namespace":"sluice-system","name":"sluice-uninstall"},"spec":{"selector":{"matchLabels":{"app":"uninstall"}}},
		"status":{"observedGeneration":99,"desiredNumberScheduled":%d,"updatedNumberScheduled":%[1]d,"numberReady":%d}}`, desired, ready)
}

// uninstalling runs it; controller is called once the DaemonSet is there.
func uninstalling(t *testing.T, s *apitest.Server, wait time.Duration, controller func()) (string, error) {
	t.Helper()
	set, err := readDaemonSet([]byte(leavingSet))
	if err != nil {
		t.Fatal(err)
	}
	running, ended := context.WithCancel(t.Context())
	var controlling sync.WaitGroup
	controlling.Go(func() {
		for ; running.Err() == nil; time.Sleep(5 * time.Millisecond) { // polling, as long as it runs
			if _, err := s.Cluster().Get(running, kubeapi.DaemonSets, leavingKey); err == nil {
				controller()
				return
			}
		}
	})
	var out bytes.Buffer
	err = clusterUninstall{s.Cluster(), "agents", &out, wait, 10 * time.Millisecond}.run(t.Context(), set)
	ended()
	controlling.Wait()
	return out.String(), err
}

func TestUninstallOfAClusterWaitsForEveryNode(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	said, err := uninstalling(t, s, 20*time.Second, func() {
		s.Put(kubeapi.DaemonSets, counted(2, 1))
		s.Stop() // the API server may go meanwhile
		s.Start()
		s.Put(kubeapi.DaemonSets, counted(2, 2))
	})
	if err != nil || !strings.Contains(said, "sluice-uninstall created") || !strings.HasSuffix(said, "2 of 2 nodes done\nDaemonSet sluice-system/sluice-uninstall deleted\n") {
		t.Errorf("%v\n%s", err, said)
	}
	if _, err := s.Cluster().Get(context.Background(), kubeapi.DaemonSets, leavingKey); err == nil {
		t.Error("the DaemonSet is there still")
	}
}

func TestUninstallOfAClusterNamesTheNodesThatAreNotDone(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	pod := `{"metadata":{"namespace":"sluice-system","name":"%s","labels":{"app":"uninstall"}},"spec":{"nodeName":"%s"},"status":{"phase":"%s"}}`
	s.Put(kubeapi.Pods, fmt.Sprintf(pod, "a", "node-a", "Running"), fmt.Sprintf(pod, "b", "node-b", "Pending"))
	_, err := uninstalling(t, s, 300*time.Millisecond, func() { s.Put(kubeapi.DaemonSets, counted(2, 1)) })
	if err == nil || !strings.Contains(err.Error(), "node node-b: pod b is Pending") || strings.Contains(err.Error(), "node-a") {
		t.Errorf("%v", err)
	}
	if _, err := s.Cluster().Get(context.Background(), kubeapi.DaemonSets, leavingKey); err != nil {
		t.Errorf("the DaemonSet does not go on: %v", err)
	}
}

// While the slowest node is waited for an agent may start anew on one that is done, and
// until its DaemonSet is gone another can.
func TestUninstallOfAClusterIsDoneTwiceAndEndsTheAgents(t *testing.T) {
	t.Parallel()
	s := apitest.New(t)
	agents := kubeapi.Key{Namespace: "sluice-system", Name: "agents"}
	s.Put(kubeapi.DaemonSets, `{"metadata":{"namespace":"sluice-system","name":"agents"},"spec":{"selector":{"matchLabels":{"app":"agent"}}}}`)
	s.Put(kubeapi.Pods, `{"metadata":{"namespace":"sluice-system","name":"agent-1","labels":{"app":"agent"}}}`, `{"metadata":{"namespace":"sluice-system","name":"other","labels":{"app":"other"}}}`)
	there := func(k kubeapi.Kind, key kubeapi.Key) bool { return s.Object(k, key) != nil }
	passes := map[string]bool{}
	said, err := uninstalling(t, s, 20*time.Second, func() {
		for there(kubeapi.DaemonSets, agents) {
			var o struct {
				Metadata struct{ Generation int }
				Spec     struct {
					Template struct {
						Metadata struct{ Annotations map[string]string }
					}
				}
			}
			if json.Unmarshal(s.Object(kubeapi.DaemonSets, leavingKey), &o) == nil && !passes[o.Spec.Template.Metadata.Annotations[runAnnotation]] {
				passes[o.Spec.Template.Metadata.Annotations[runAnnotation]] = true
				s.Put(kubeapi.DaemonSets, counted(1, 1))
			}
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(50 * time.Millisecond)
		if !there(kubeapi.DaemonSets, leavingKey) {
			t.Error("nobody looks after the node, and an agent is there still")
		}
		s.Remove(kubeapi.Pods, kubeapi.Key{Namespace: "sluice-system", Name: "agent-1"})
	})
	if err != nil || strings.Count(said, "1 of 1 node done") != 2 || there(kubeapi.DaemonSets, leavingKey) {
		t.Errorf("%v, after %d passes\n%s", err, len(passes), said)
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
		_, err := uninstalling(t, s, 200*time.Millisecond, func() {})
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
		if _, err := readDaemonSet([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
