package core_test

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/selection"
)

// What fails for one pod changes nothing for the others: neither what is done nor when.
func TestOnePodsTroubleIsItsOwn(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		well, ill := others(seed, 0), others(seed, 0.7)
		if !slices.Equal(well, ill) {
			at := 0
			for at < min(len(well), len(ill)) && well[at] == ill[at] {
				at++
			}
			t.Fatalf("seed %d: action %d of the other pods differs: %q, with a failing pod %q",
				seed, at, well[at:min(at+1, len(well))], ill[at:min(at+1, len(ill))])
		}
	}
}

var fileNumber = regexp.MustCompile(` files=\d+`)

// others is what is done about pods 2 to 6 in a drawn history, while each action of pod 1
// fails with a probability.
func others(seed uint64, failing float64) (done []string) {
	w := newWorld()
	w.checkGap = 1                            // checks take turns; that they wait for each other is meant
	events := rand.New(rand.NewPCG(seed, 1))  // the same in both runs
	trouble := rand.New(rand.NewPCG(seed, 2)) // pod 1's own
	a := w.startAgent()
	give := func(steps []step) {
		for len(steps) > 0 {
			actions, more := w.step(steps[0].agent, steps[0].event)
			for _, act := range actions {
				if p, ok := act.(core.PodAction); ok && p.At().Pod != id(1) {
					done = append(done, time.Duration(w.now).Round(time.Millisecond).String()+" "+fileNumber.ReplaceAllString(render(act), ""))
				}
			}
			steps = append(steps[1:], more...)
		}
	}
	settle := func() {
		for len(a.under) > 0 {
			how := works
			if a.under[0].At().Pod == id(1) && trouble.Float64() < failing {
				how = fails
			}
			give([]step{{a, w.perform(a, a.under[0], how)}})
		}
	}
	give([]step{{a, core.SnapshotReady{}}})
	give(w.greet(a))
	give(w.admit(a))
	for range 60 {
		n := id(1 + events.IntN(6))
		ns, alive := w.namespaces[n], w.namespaces[n] != nil && w.namespaces[n].alive
		switch kind := events.IntN(5); {
		case kind == 0 && !alive && w.free(n):
			give(w.add(n, selection.Pod{Namespace: "x", Name: "p"}, 0))
			w.commit(n, "s-0", "s")
			w.namespaces[n].pid = 1
		case kind == 1 && alive && n != id(1):
			more := w.release(n)
			w.end(n)
			give(more)
		case kind == 2:
			w.policy = policy{"x": {Selected: true, Hash: []string{"s-0", "s-1", "t-0"}[events.IntN(3)], Shape: "s", Gate: 10 * time.Second}}
			if events.IntN(4) == 0 {
				w.policy = policy{}
			}
			give([]step{{a, core.PolicyChanged{Decide: w.policy.decide}}})
		case kind == 3 && alive:
			give([]step{{a, w.sweep(true)}})
		case kind == 4 && alive && ns.rules.state == core.RulesApplied:
			ns.rules.tampered = true
		}
		settle()
		end := w.now + int64(time.Duration(events.IntN(20000))*time.Millisecond)
		for w.now < end {
			at := end
			if next, ok := a.core.Next(); ok {
				at = min(end, max(next, w.now+1))
			}
			w.now = at
			give([]step{{a, core.Tick{}}})
			settle()
		}
		give(w.finish(a))
		settle()
	}
	return done
}
