package node

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/e2e/node/load"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
)

func signal(t *testing.T, p *stage.Process, s syscall.Signal) {
	t.Helper()
	must(t, syscall.Kill(p.PID, s))
}

func noFailures(t *testing.T, l *stage.Load) {
	t.Helper()
	r, err := l.Stop()
	must(t, err)
	for _, f := range r.Failures {
		t.Errorf("%s: %s: %s", f.Kind, f.What, f.Error)
	}
}

// An agent that stands still is no obstacle to the next one; when it goes on it believes
// that it serves, and is told better before anybody notices.
func TestAnAgentThatStoodStillGivesWayWhenItGoesOn(t *testing.T) {
	n := aNode(t, stage.Options{DrainLimit: 2 * time.Second})
	p := added(t, n)
	governed(t, p)
	old := n.Agent()
	signal(t, old, syscall.SIGSTOP)
	l, err := p.Load(load.Spec{PerSecond: 50, Targets: []load.Target{web, database}, Patience: patience})
	must(t, err)
	next := n.LaunchAgent() // whom nobody answers that it was seen
	await.True(t, "it takes over", func() bool { return strings.Contains(next.Log(), "serving every pod") })
	n.AwaitAgent(next) // not before: until then it would be the one that stands still who is asked
	q := added(t, n)
	await.True(t, "a new pod is served beside it", func() bool { return isEnrolled(n, q) })
	signal(t, old, syscall.SIGCONT)
	select {
	case <-old.Ended:
	case <-time.After(patience):
		t.Errorf("%s has not ended", old.Name)
	}
	noFailures(t, l)
	governed(t, p)
	governed(t, q)
	must(t, p.Check())
}

// Agents that are started at once agree on one, and the others end.
func TestAgentsThatStartAtOnceAgreeOnOne(t *testing.T) {
	n := aNode(t, stage.Options{DrainLimit: 2 * time.Second})
	p := added(t, n)
	governed(t, p)
	l, err := p.Load(load.Spec{PerSecond: 50, Targets: []load.Target{web, database, names}})
	must(t, err)
	for range 3 {
		n.LaunchAgent()
	}
	await.True(t, "all but one have ended", func() bool {
		running := 0
		for _, a := range n.Agents {
			if a.Running() {
				running++
			}
		}
		return running == 1
	})
	noFailures(t, l)
	governed(t, p)
}

// The holder stands still while one agent follows another, which cannot get the pods:
// the one before serves on, and the next takes over once the holder goes on.
func TestAHolderThatStandsStillHoldsUpOnlyTheUpgrade(t *testing.T) {
	n := aNode(t, stage.Options{DrainLimit: 2 * time.Second})
	p := added(t, n)
	governed(t, p)
	l, err := p.Load(load.Spec{PerSecond: 50, Targets: []load.Target{web, database}})
	must(t, err)
	old := n.Agent()
	signal(t, n.Holder, syscall.SIGSTOP)
	next := n.LaunchAgent()
	await.True(t, "it has tried", func() bool { return strings.Contains(next.Log(), "configuration in force") })
	must(t, p.Do(web, patience))
	if !old.Running() {
		t.Error("the one before has ended")
	}
	signal(t, n.Holder, syscall.SIGCONT)
	n.AwaitAgent(next)
	<-old.Ended
	noFailures(t, l)
	governed(t, p)
}

// An agent that has no descriptors left for a new pod serves the others, for as long as
// that takes, and the new one as soon as it can.
func TestAPodForWhichThereAreNoDescriptorsWaitsAlone(t *testing.T) {
	n := aNode(t, stage.Options{Holder: []string{"--wait-limit", "2s"}})
	p := added(t, n)
	governed(t, p)
	agent := n.Agent()
	var before unix.Rlimit
	must(t, unix.Prlimit(agent.PID, unix.RLIMIT_NOFILE, nil, &before))
	limit := before
	limit.Cur = uint64(lowestFree(t, agent)) + 2 // and a pod takes more
	must(t, unix.Prlimit(agent.PID, unix.RLIMIT_NOFILE, &limit, nil))
	q := added(t, n)
	await.True(t, "the agent says so", func() bool { return strings.Contains(agent.Log(), "cannot be taken") })
	time.Sleep(4 * time.Second) // the measurement: twice the limit after which the holder would reset connections
	s, err := n.HolderStatus()
	must(t, err)
	for _, pod := range s.Pods {
		if pod.State != "served" {
			t.Errorf("pod %s is %s", pod.Pod.Name, pod.State)
		}
	}
	must(t, unix.Prlimit(agent.PID, unix.RLIMIT_NOFILE, &before, nil))
	await.True(t, "the new pod is served", func() bool { return isEnrolled(n, q) })
	governed(t, p)
	governed(t, q)
}

// lowestFree is the number that a process's next descriptor has.
func lowestFree(t *testing.T, p *stage.Process) (n int) {
	t.Helper()
	for ; ; n++ {
		if _, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", p.PID, n)); err != nil {
			return n
		}
	}
}

// Files that are written over and over are followed at the pace that the agent has.
func TestAStormOfChangesIsNoMoreWorkThanCanBeDone(t *testing.T) {
	n := aNode(t, stage.Options{})
	p := added(t, n)
	governed(t, p)
	before := n.Agent().Memory()
	for i := range 300 {
		n.Ranges(fmt.Sprintf("100.64.%d.0/24", i%256), stage.Captured)
		n.Policy(fmt.Sprintf("exemptNamespaces: [n%d]\n", i))
		time.Sleep(10 * time.Millisecond) // the pace of the load
	}
	n.Ranges(stage.Captured)
	await.True(t, "the last ranges are in force", func() bool {
		s, err := n.Status()
		return err == nil && s.Ready && isEnrolled(n, p) && s.Ranges == 1
	})
	governed(t, p)
	t.Logf("memory: %v before, %v after", before, n.Agent().Memory())
}
