package cluster_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/cluster/world"
)

// What carries the pods goes on without an API server, and so does what comes and goes
// meanwhile: pods that the kubelet runs by itself, and pods whose sandbox is made anew. An
// agent that starts in that time knows what was in force. Then the kubelet and the container
// runtime are started again.
func TestCallsGoOnWithoutTheCluster(t *testing.T) {
	l := newLoad(t)
	l.govern()
	l.comers(6)
	away := 20 * time.Second
	if *full {
		away = 5 * time.Minute
	}
	l.Stop("kube-apiserver")
	stopped := time.Now()
	c := churn{underLoad: l}
	for c.rounds < 2 || time.Since(stopped) < away/2 {
		c.round()
	}
	l.more()
	l.allSucceeded("without an API server")
	l.streamsGoOn("without an API server")
	l.streamsEnd() // the next agent is none that takes them over

	old := l.agent()
	l.killing = time.Now()
	if err := l.Containerd.StopPod(old); err != nil {
		t.Fatal(err)
	}
	l.killed = time.Now()
	l.Eventually("another agent is there, without an API server", func() error {
		if now := l.agent(); now == "" || now == old {
			return fmt.Errorf("none but %q", now)
		}
		return nil
	})
	for again := c.rounds; c.rounds < again+2 || time.Since(stopped) < away; {
		c.round()
	}
	l.more()
	l.allSucceeded("with an agent that knows no API server")
	l.nonePassed("with an agent that knows no API server")
	t.Logf("%d pods came within %v without an API server", c.came, time.Since(stopped).Round(time.Second))

	l.Start("kube-apiserver")
	l.Eventually("the API server answers", func() error { _, err := l.Kubectl("get", "nodes"); return err })
	for _, part := range []string{"kubelet", "containerd"} {
		l.Stop(part)
		l.Start(part)
		l.AwaitNode()
		c.round()
		l.more()
	}
	l.governed()
	l.allSucceeded("after the faults")
	l.nonePassed("after the faults")
}

// churn is pods that come and go.
type churn struct {
	*underLoad
	rounds, came int
	next         []string // of the Deployment, whose turn it is
}

// round has a static pod come and the one before it go, and the sandbox of a pod of the
// Deployment made anew, and waits until both are governed. The pods take turns: the kubelet
// lets a container that it starts again and again wait.
func (c *churn) round() {
	c.t.Helper()
	c.rounds++
	name := fmt.Sprint("static-", c.rounds)
	c.Static(name, fmt.Sprintf(staticComer, name, comer))
	running := c.running("comers-")
	if len(c.next) == 0 {
		for pod := range running {
			c.next = append(c.next, pod)
		}
		slices.Sort(c.next)
	}
	again := c.next[0]
	c.next = c.next[1:]
	before := c.starts(again)
	if err := c.Containerd.StopPod(running[again]); err != nil {
		c.t.Fatal(err)
	}
	c.awaitStart(name+"-"+world.NodeName, 0)
	c.awaitStart(again, before)
	c.came += 2
	if c.rounds > 1 {
		c.Static(fmt.Sprint("static-", c.rounds-1), "")
	}
}

// agent is the sandbox of the agent's pod.
func (l *underLoad) agent() (id string) {
	l.t.Helper()
	for _, p := range l.Pods(world.Namespace) {
		if strings.HasPrefix(p.Pod.Name, "sluice-agent-") {
			id = p.ID
		}
	}
	return id
}
