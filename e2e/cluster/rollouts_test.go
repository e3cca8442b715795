package cluster_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/world"
)

// A second rollout comes while the agent before the first one still has connections to
// drain: three agents are on the node, and no stream of any is cut.
func TestTwoRolloutsInARowCutNoStream(t *testing.T) {
	l := newLoad(t)
	l.govern()
	pod := l.Must("-n", "load", "get", "pods", "-l", "app=callers", "-o", "jsonpath={.items[0].metadata.name}")
	restart := func() { l.Must("-n", world.Namespace, "rollout", "restart", "daemonset/sluice-agent") }
	l.replaces("agent", restart)
	l.governed()
	before := len(l.Internet.Seen("stream.example"))
	end := make(chan string, 1)
	go func() {
		out, err := l.Exec("load", pod, streamed)
		end <- fmt.Sprintln(out, err)
	}()
	l.Eventually("the second agent has a stream", func() error {
		if len(l.Internet.Seen("stream.example")) == before {
			return fmt.Errorf("nobody has asked for it")
		}
		return nil
	})
	l.replaces("agent", restart)
	l.governed()
	l.more()
	if agents := l.sluices("agent"); len(agents) != 3 {
		t.Errorf("agents are %v; want two that drain and one that serves", agents)
	}
	l.streamsGoOn("after the second rollout")
	l.restarted()
	l.streamsEnd()
	if got := <-end; !strings.HasPrefix(got, "200 ") {
		t.Errorf("the stream that began between the rollouts was cut: %s", got)
	}
	l.ready()
	l.Eventually("one agent is left", func() error {
		if agents := l.sluices("agent"); len(agents) != 1 {
			return fmt.Errorf("agents are %v", agents)
		}
		return nil
	})
	l.governed()
	l.more()
	l.allSucceeded("after two rollouts")
	l.nonePassed("after two rollouts")
}

// Pods of both DaemonSets are deleted again and again, at first while they carry streams;
// every pod is governed, calls wait and do not fail, and nobody takes over from anybody in a
// circle.
func TestDaemonSetPodsDeletedAgainAndAgain(t *testing.T) {
	l := newLoad(t)
	l.govern()
	rounds := 2
	if *full {
		rounds = 20
	}
	for range rounds {
		for _, set := range []string{"agent", "holder"} {
			l.Must("-n", world.Namespace, "delete", "pod", "-l", "app.kubernetes.io/component="+set, "--timeout=2m")
			l.ready()
			l.governed()
		}
	}
	l.more()
	l.restarted()
	l.allSucceeded("after the deletions")
	l.nonePassed("after the deletions")
	for _, p := range l.Pods("load") {
		l.refused(p.Pod.Name)
	}
}
