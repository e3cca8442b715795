package node

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/load"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/rules/nft"
)

// What a node promises of its agent, with 100 resources (docs/performance.md).
const (
	manyEnrolled = 20 * time.Second // all pods
	manyMemory   = 100e6            // bytes resident, idle, with all pods
	manyPerPod   = 200e3            // bytes
	manyRanges   = 2 * time.Second  // new ranges in all pods
)

// One agent for every pod of a node: enrolled by ADD, and found while they were
// running.
func TestFiveHundredPodsOnOneAgent(t *testing.T) {
	needsRoot(t)
	t.Run("by ADD", func(t *testing.T) { manyPods(t, true) })
	t.Run("found running", func(t *testing.T) { manyPods(t, false) })
}

func manyPods(t *testing.T, byADD bool) {
	count := 30
	if *full {
		count = 500
	}
	n := stage.New(t, stage.Options{More: 100, Runtime: true})
	n.StartHolder()
	n.StartAgent()
	before, memoryBefore := baseline(t, n), n.Agent().Memory()
	pods := makePods(t, n, count)
	if !byADD {
		n.Agent().Terminate()
		await.True(t, "the agent has ended", func() bool { return !n.Agent().Running() })
		for _, p := range pods {
			p.Known(true)
		}
	}

	began := time.Now()
	if byADD {
		each(t, pods, 4, func(p *stage.Pod) error { err := p.Add(); p.Known(true); return err })
		figure(t, "ADD of %d pods, 4 at a time", time.Since(began), count)
	} else {
		n.LaunchAgent()
	}
	await.True(t, "all pods are enrolled", func() bool { return n.Enrolled() == count })
	enrolled := time.Since(began)
	figure(t, "%d pods enrolled after", enrolled, count)
	allGoverned(t, pods)

	old := hashes(t, n)
	began = time.Now()
	n.Ranges(stage.Captured, "203.0.113.0/24")
	await.True(t, "the new range is in every pod", func() bool { return allOthers(hashes(t, n), old) })
	ranges := time.Since(began)
	figure(t, "a new range in %d pods after", ranges, count)
	wantRanges(t, pods, 2)

	if *full {
		idle(t, n, time.Minute)
	}
	measured, memory := baseline(t, n), n.Agent().Memory()
	perPod := float64(memory.Resident()-memoryBefore.Resident()) / float64(count)
	figure(t, "the agent without pods, with 103 resources: %s", 0, memoryBefore)
	figure(t, "the agent with %d pods: %s, %d descriptors, %d goroutines; the holder %s, %d descriptors", 0,
		count, memory, measured.AgentFiles, measured.Goroutines, n.Holder.Memory(), measured.HolderFiles)
	figure(t, "a pod: %.0f bytes of the agent", 0, perPod)
	if *full {
		within(t, "all pods enrolled", enrolled, manyEnrolled)
		within(t, "a range in all pods", ranges, manyRanges)
		within(t, "bytes resident", float64(memory.Resident()), manyMemory)
		within(t, "bytes a pod", perPod, manyPerPod)
	}

	began = time.Now()
	each(t, pods, 4, func(p *stage.Pod) error { p.Known(false); return p.Delete() })
	figure(t, "DEL of %d pods, 4 at a time", time.Since(began), count)
	n.GivenBack(before)
}

// hashes are those of each pod's rules, by the agent's word.
func hashes(t *testing.T, n *stage.Node) map[string]string {
	t.Helper()
	s, err := n.Status()
	must(t, err)
	all := map[string]string{}
	for _, p := range s.Pods {
		if p.Hash != "" {
			all[p.Name.Name] = p.Hash
		}
	}
	return all
}

func allOthers(now, old map[string]string) bool {
	for pod, hash := range old {
		if now[pod] == hash {
			return false
		}
	}
	return len(now) == len(old)
}

// wantRanges requires that each pod's kernel captures so many ranges.
func wantRanges(t *testing.T, pods []*stage.Pod, want int) {
	t.Helper()
	for _, p := range pods {
		applied, found, err := nft.Read(p.NS.FD())
		must(t, err)
		if got := len(applied.Config.IncludeIPRanges.Ranges4()); !found || got != want {
			t.Errorf("pod %s captures %d ranges, want %d", p.Name, got, want)
		}
	}
}

// idle lets an agent alone for some time and tells what it did with it.
func idle(t *testing.T, n *stage.Node, long time.Duration) {
	t.Helper()
	cpu := n.Agent().CPU()
	time.Sleep(long) // this is the measurement: an agent that nobody asks anything
	figure(t, "the idle agent's use of one processor: %.2f %%", 0, 100*float64(n.Agent().CPU()-cpu)/float64(long))
}

func makePods(t *testing.T, n *stage.Node, count int) (pods []*stage.Pod) {
	t.Helper()
	for range count {
		p, err := n.Pod("")
		must(t, err)
		pods = append(pods, p)
		t.Cleanup(func() { p.NS.Close() })
	}
	return pods
}

// each does something with every pod, some at the same time.
func each(t *testing.T, pods []*stage.Pod, workers int, do func(*stage.Pod) error) {
	t.Helper()
	var wait sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	work := make(chan *stage.Pod)
	for range workers {
		wait.Go(func() {
			for p := range work {
				if err := do(p); err != nil {
					mu.Lock()
					errs = append(errs, fmt.Errorf("pod %s: %w", p.Name, err))
					mu.Unlock()
				}
			}
		})
	}
	for _, p := range pods {
		work <- p
	}
	close(work)
	wait.Wait()
	if len(errs) > 0 {
		t.Fatalf("%d of %d pods: %v", len(errs), len(pods), errors.Join(errs[:min(len(errs), 5)]...))
	}
}

// allGoverned requires of every pod that what is registered is reached, and nothing else.
func allGoverned(t *testing.T, pods []*stage.Pod) {
	t.Helper()
	each(t, pods, 8, func(p *stage.Pod) error {
		if err := p.Do(web, load.Patience); err != nil {
			return fmt.Errorf("registered: %w", err)
		}
		if err := p.Do(load.Target{Kind: load.HTTP, Address: stage.Free + ":80", Name: "free.example"}, load.Patience); err != nil {
			return fmt.Errorf("not captured: %w", err)
		}
		return p.Do(hidden, load.Patience)
	})
	unleaked(t, pods[0].Node())
}

// unleaked requires that nothing has arrived that no proxy would have let pass.
func unleaked(t *testing.T, n *stage.Node) {
	t.Helper()
	if leaked := n.Internet.Leaked.Load(); leaked != 0 {
		t.Errorf("%d connections have left pods that were captured, past the proxy", leaked)
	}
}

// strange is a name that nobody registers, for those who do not mind how that ends.
var strange = load.Target{Kind: load.Probe, Address: stage.Web + ":80", Name: "strange.example"}

func baseline(t *testing.T, n *stage.Node) stage.Baseline {
	t.Helper()
	b, err := n.Measure()
	must(t, err)
	return b
}

// figure prints what was measured, for the documentation.
func figure(t *testing.T, format string, took time.Duration, args ...any) {
	t.Helper()
	line := fmt.Sprintf(format, args...)
	if took > 0 {
		line += fmt.Sprintf(" %v", took.Round(time.Millisecond))
	}
	t.Logf("figure: %s", line)
}

func within[N int | float64 | time.Duration](t *testing.T, what string, is, most N) {
	t.Helper()
	if is > most {
		t.Errorf("%s: %v, more than %v", what, is, most)
	}
}
