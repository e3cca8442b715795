package core_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/selection"
)

// full is a node with this many enrolled pods, half of them with bypass.
func full(b testing.TB, pods int) (*core.State, *int64) {
	s := core.New(core.Settings{})
	now := int64(1)
	var give func(e core.Event)
	give = func(e core.Event) {
		for _, a := range s.Step(now, e) {
			p, ok := a.(core.PodAction)
			if !ok {
				continue
			}
			done := core.Done{Action: p}
			if _, ok := a.(core.ReadBack); ok {
				done.Rules = core.Rules{State: core.RulesApplied, Hash: "a", Shape: "s"}
			}
			give(done)
		}
	}
	give(core.PolicyChanged{Decide: ranged("a")})
	give(core.SnapshotReady{})
	give(core.Connected{Roster: core.Roster{Agents: wire.Agents{IDs: []uint64{1}}}})
	give(core.Listed{})
	for n := range pods {
		give(core.Held{
			Pod: wire.Netns{Device: 4, Inode: uint64(n + 1)}, Files: core.Files(n + 1), Attachment: wire.Attachment{Path: "/run/netns/x"},
			Name: selection.Pod{Namespace: fmt.Sprint("ns", n%2), Name: fmt.Sprint("pod", n)},
		})
	}
	give(core.Found{Complete: true})
	if got := s.Status(); len(got.Pods) != pods || got.Serving != pods || got.Pods[pods-1].State != core.PodEnrolled {
		b.Fatalf("%d pods, %d served, the last one %s", len(got.Pods), got.Serving, got.Pods[pods-1].State)
	}
	return s, &now
}

func ranged(hash string) core.Decide {
	return func(d core.Description) core.Decision {
		c := core.Decision{Selected: true, Hash: hash, Shape: "s", Auto: true}
		if d.Name.Namespace == "ns1" {
			c.Gate = 9 * time.Second
		}
		return c
	}
}

// perform answers every action at once, and what follows from it.
func perform(s *core.State, now int64, actions []core.Action) (n int) {
	for len(actions) > 0 {
		a := actions[0]
		actions = actions[1:]
		n++
		if p, ok := a.(core.PodAction); ok {
			actions = append(actions, s.Step(now, core.Done{Action: p})...)
		}
	}
	return n
}

// A change of ranges for 500 pods: decided, one action each, its answer.
func BenchmarkRanges500(b *testing.B) {
	s, now := full(b, 500)
	b.ReportAllocs()
	for n := range b.N {
		done := perform(s, *now, s.Step(*now, core.RangesChanged{Decide: ranged(fmt.Sprint("h", n))}))
		if done != 500 {
			b.Fatal(done, " actions")
		}
	}
}

func BenchmarkPolicy500(b *testing.B) {
	s, now := full(b, 500)
	b.ReportAllocs()
	for n := range b.N {
		perform(s, *now, s.Step(*now, core.PolicyChanged{Decide: ranged(fmt.Sprint("h", n))}))
	}
}

// BenchmarkQuiet is what a node on which nothing happens costs, a second of its time
// each: beats of half the pods and checks. Its cost for a beat or check must not depend
// on how many pods there are.
func BenchmarkQuiet(b *testing.B) {
	for _, pods := range []int{50, 500, 5000} {
		b.Run(fmt.Sprint(pods), func(b *testing.B) {
			s, now := full(b, pods)
			actions, end := 0, *now
			b.ReportAllocs()
			for b.Loop() {
				end += int64(time.Second)
				for {
					at, ok := s.Next()
					if !ok || at > end {
						break
					}
					*now = at
					actions += perform(s, at, s.Step(at, core.Tick{}))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(max(actions, 1)), "ns/action")
		})
	}
}

func BenchmarkSweep500(b *testing.B) {
	s, now := full(b, 500)
	var f core.Found
	for n := range 500 {
		f.Pods = append(f.Pods, core.FoundPod{
			Pod: wire.Netns{Device: 4, Inode: uint64(n + 1)}, Path: "/run/netns/x", PID: n + 1, Known: true,
			Name: selection.Pod{Namespace: fmt.Sprint("ns", n%2), Name: fmt.Sprint("pod", n), Labels: map[string]string{"app": "x", "tier": "y"}},
		})
	}
	f.Complete = true
	perform(s, *now, s.Step(*now, f))
	b.ReportAllocs()
	for b.Loop() {
		s.Step(*now, f)
	}
}
