package cluster

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestADaemonSetIsReadyWhenEveryNodesNewestPodIs(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]string{
		`{"status":{"desiredNumberScheduled":2,"numberReady":2,"updatedNumberScheduled":2}}`:                               "",
		`{"status":{"desiredNumberScheduled":2,"numberReady":1,"updatedNumberScheduled":1}}`:                               "DaemonSet agents: is ready on 1 of 2 nodes",
		`{"status":{"desiredNumberScheduled":1,"numberReady":1}}`:                                                          "DaemonSet agents: is up to date on 0 of 1 node",
		`{"metadata":{"generation":2},"status":{"observedGeneration":1}}`:                                                  "DaemonSet agents: was changed a moment ago",
		`{"metadata":{"generation":2},"status":{"observedGeneration":3,"desiredNumberScheduled":0,"numberReady":0}}`:       "",
		`{"metadata":{"generation":2},"status":{"observedGeneration":1,"desiredNumberScheduled":3,"numberReady":2}}`:       "DaemonSet agents: was changed a moment ago",
		`{"status":{"observedGeneration":1,"desiredNumberScheduled":3,"numberReady":2,"updatedNumberScheduled":3}}`:        "DaemonSet agents: is ready on 2 of 3 nodes",
		`{"metadata":{"generation":0},"status":{"desiredNumberScheduled":3,"numberReady":4,"updatedNumberScheduled":300}}`: "",
	} {
		var d daemonSet
		if err := json.Unmarshal([]byte(status), &d); err != nil {
			t.Fatal(err)
		}
		d.Metadata.Name = "agents"
		got := ""
		if err := d.unready(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, not %q", status, got, want)
		}
	}
}

func TestAPodsOwnWordsSayWhyItIsNotReady(t *testing.T) {
	t.Parallel()
	for status, want := range map[string][]string{
		`{"phase":"Running","conditions":[{"type":"Ready","status":"True","message":"as it should be"}]}`:                                               nil,
		`{"phase":"Running","conditions":[{"type":"Ready","status":"False","message":"unready: [installer]"}]}`:                                         {"node n: pod p: unready: [installer]"},
		`{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","message":"no room"},{"type":"Initialized","message":"never mind"}]}`: {"node n: pod p: no room"},
		`{"phase":"Pending"}`: {"node n: pod p: Pending"},
		`{}`:                  {"node n: pod p: of an unknown phase"},
	} {
		var p pod
		if err := json.Unmarshal([]byte(`{"metadata":{"name":"p"},"spec":{"nodeName":"n"},"status":`+status+`}`), &p); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, unready([]pod{p})); diff != "" {
			t.Errorf("%s: %s", status, diff)
		}
	}
}
