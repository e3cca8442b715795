package node

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/load"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
)

// An agent is replaced by the next while every pod goes on connecting: nobody who
// connects notices, and long connections have until the drain limit.
func TestUpgradesLoseNoNewConnection(t *testing.T) {
	needsRoot(t)
	upgrades, rate, drain := 3, 100.0, time.Second
	if *full {
		upgrades, rate, drain = 20, 500, 6*time.Second
	}
	n := stage.New(t, stage.Options{DrainLimit: drain})
	n.StartHolder()
	n.StartAgent()
	before := baseline(t, n)
	pods := makePods(t, n, 10)
	each(t, pods, 4, (*stage.Pod).Add)
	await.True(t, "all pods are enrolled", func() bool { return n.Enrolled() == len(pods) })

	loads := startLoads(t, pods, load.Spec{PerSecond: rate / float64(len(pods)), Targets: []load.Target{web, tls, database, names}})
	for range upgrades {
		upgrade(t, n, pods, drain)
	}
	r := stopLoads(t, loads)
	figure(t, "%d upgrades under %.0f new connections a second: %v good, %d failed, the slowest %v", 0,
		upgrades, rate, r.Good, len(r.Failures), r.Slowest.Round(time.Millisecond))
	for _, f := range r.Failures {
		t.Errorf("a new connection was lost: %+v", f)
	}
	unleaked(t, n)
	each(t, pods, 4, (*stage.Pod).Delete)
	n.GivenBack(before)
}

// upgrade starts the next agent among five streams that outlast the drain and five
// that do not.
func upgrade(t *testing.T, n *stage.Node, pods []*stage.Pod, drain time.Duration) {
	t.Helper()
	old := n.Agent()
	var streams []*stream
	for i, p := range pods {
		lasting := drain / 2
		if i%2 == 0 {
			lasting = 3 * drain
		}
		streams = append(streams, startStream(t, p, lasting))
	}
	await.True(t, "the streams are open", func() bool {
		return n.Internet.Streams.Load() >= int64(len(pods))
	})
	began := time.Now()
	n.StartAgent()
	took := time.Now()
	figure(t, "a new agent serves %d pods after", took.Sub(began), len(pods))
	await.True(t, old.Name+" has ended", func() bool { return !old.Running() })
	if code := old.State.ExitCode(); code != 0 {
		t.Errorf("%s ended with code %d", old.Name, code)
	}
	if ended := old.Died.Sub(took); ended > drain+10*time.Second {
		t.Errorf("%s drained for %v, its limit is %v", old.Name, ended, drain)
	}
	for i, s := range streams {
		r := s.wait(t)
		switch {
		case i%2 == 1 && r.What != "":
			t.Errorf("a stream shorter than the drain limit was cut: %+v", r)
		case i%2 == 0 && r.Ended.Sub(began) < drain:
			t.Errorf("a stream was cut %v after the upgrade began, before the drain limit of %v: %+v", r.Ended.Sub(began), drain, r)
		}
	}
}

// startLoads starts the same load in every pod.
func startLoads(t *testing.T, pods []*stage.Pod, s load.Spec) (loads []*stage.Load) {
	t.Helper()
	for _, p := range pods {
		l, err := p.Load(s)
		must(t, err)
		loads = append(loads, l)
	}
	return loads
}

// stopLoads adds up what came of them.
func stopLoads(t *testing.T, loads []*stage.Load) load.Result {
	t.Helper()
	all := load.Result{Good: map[load.Kind]int{}}
	for _, l := range loads {
		l.End() // all at once: each waits for what it has under way
	}
	for _, l := range loads {
		r, err := l.Stop()
		must(t, err)
		for k, v := range r.Good {
			all.Good[k] += v
		}
		all.Failures = append(all.Failures, r.Failures...)
		all.Slowest = max(all.Slowest, r.Slowest)
	}
	slices.SortFunc(all.Failures, func(a, b load.Failure) int { return a.Began.Compare(b.Began) })
	return all
}

type stream struct {
	out  strings.Builder
	wait func(*testing.T) load.Streamed
}

func startStream(t *testing.T, p *stage.Pod, lasting time.Duration) *stream {
	t.Helper()
	s := &stream{}
	cmd := p.Command("stream", database.Address, stage.StreamName, lasting.String())
	cmd.Stdout = &s.out
	must(t, p.NS.Start(cmd))
	t.Cleanup(func() { cmd.Process.Kill() })
	s.wait = func(t *testing.T) (r load.Streamed) {
		t.Helper()
		must(t, cmd.Wait())
		must(t, json.Unmarshal([]byte(s.out.String()), &r))
		return r
	}
	return s
}

// In a DaemonSet two pods have an agent for a while, and the kubelet starts again what
// ends in either. The old pod's agent never takes over from the new one's, however often
// it is started, but serves when the new one is gone.
func TestTheOldPodsAgentStandsBy(t *testing.T) {
	needsRoot(t)
	again := 3
	if *full {
		again = 20
	}
	n := stage.New(t, stage.Options{DrainLimit: time.Second})
	n.StartHolder()
	inPod := func(uid string) *stage.Process { return n.LaunchAgent("--pod-uid", uid) }
	older := inPod("older")
	n.AwaitAgent(older)
	before := baseline(t, n)
	pods := makePods(t, n, 4)
	each(t, pods, 4, (*stage.Pod).Add)
	await.True(t, "all pods are enrolled", func() bool { return n.Enrolled() == len(pods) })
	loads := startLoads(t, pods, load.Spec{PerSecond: 10, Targets: []load.Target{web, tls, database, names}})

	younger := inPod("younger")
	n.AwaitAgent(younger)
	serves := func(p *stage.Process) func() bool {
		return func() bool {
			s, err := n.Status()
			return err == nil && s.PID == p.PID && s.Ready
		}
	}
	standsBy := func(p *stage.Process) func() bool {
		return func() bool { return strings.Contains(p.Log(), "another agent serves") }
	}
	await.True(t, "the old pod's agent stands by", standsBy(older))
	for range again {
		older.Kill()
		older = inPod("older")
		await.True(t, "it stands by when it was started again", standsBy(older))
		if !serves(younger)() {
			t.Fatalf("the new pod's agent does not serve any more:\n%s", younger.LogEnd(4000))
		}
	}
	r := stopLoads(t, loads)
	for _, f := range r.Failures {
		t.Errorf("a connection was lost while only the stand-by came and went: %+v", f)
	}
	for range again {
		younger.Kill()
		await.True(t, "the old pod's agent serves while the new one's is gone", serves(older))
		governed(t, pods[0])
		younger = inPod("younger")
		n.AwaitAgent(younger)
	}
	// Many drain limits have passed.
	if !older.Running() || !younger.Running() {
		t.Errorf("the old one runs: %t, the new one: %t; a kubelet would have started them again", older.Running(), younger.Running())
	}
	older.Terminate()
	await.True(t, "the old pod's agent ends when its pod is deleted", func() bool { return !older.Running() })
	if code := older.State.ExitCode(); code != 0 {
		t.Errorf("it ended with code %d", code)
	}
	governed(t, pods[0])
	unleaked(t, n)
	each(t, pods, 4, (*stage.Pod).Delete)
	n.GivenBack(before)
}
