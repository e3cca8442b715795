package rulestest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/rules"
)

// Apply is a backend's way to program a namespace.
type Apply func(netnsFD int, plan rules.Plan) error

const (
	worlds         = 2
	flowsPerConfig = 20

	// A long run is one whose numbers mean something for each line of Precedence
	// and each family.
	longRun       = 10000
	decidedEnough = 100
)

// Run holds a backend to rules.Decide: first by the cases that failed once, then
// by random ones. A difference is shrunk to what it needs and kept as a file.
func Run(t *testing.T, apply Apply, by AgentsBy) {
	seed := Seed(t)
	withCgroups := MakeCgroups(t)
	if !withCgroups {
		t.Log("not run: flows from cgroups need root and a writable cgroup version 2 hierarchy")
	}
	tally := &tally{agents: by == ByCgroup && withCgroups}
	t.Run("worlds", func(t *testing.T) {
		for i := range worlds {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				w := NewWorld(t)
				r := NewRandom(seed, uint64(i))
				if !withCgroups {
					r.cgroups = nil
				}
				if i == 0 {
					w.replay(t, apply, withCgroups)
				}
				for done := 0; done < *pairs/worlds && !t.Failed(); done += flowsPerConfig {
					w.judge(t, apply, r, by, tally)
				}
			})
		}
	})
	t.Log(tally)
	if !t.Failed() {
		tally.demand(t)
	}
}

// judge programs one configuration and sends flows through it.
func (w *World) judge(t *testing.T, apply Apply, r Random, by AgentsBy, tally *tally) {
	c := r.Config()
	m := r.Mode(c, by)
	if err := w.program(apply, m, c); err != nil {
		t.Fatalf("apply %s: %v", text(c), err)
	}
	for range flowsPerConfig {
		f := m.Seen(r.FlowFor(c))
		if what := w.difference(c, f); what != "" {
			c, f = w.shrink(apply, m, c, f)
			t.Fatalf("%s\nconfig %s\nnode mode: %t\nflow %+v\nkept as %s", what, text(c), m.Node, f, keep(m, c, f))
		}
		tally.count(c, f)
	}
}

func (w *World) program(apply Apply, m Mode, c rules.Config) error {
	plan, err := m.Plan(c)
	if err != nil {
		return err
	}
	return apply(w.pod.FD(), plan)
}

// difference says how the kernel disagrees with Decide, "" when it does not.
func (w *World) difference(c rules.Config, f rules.Flow) string {
	want, reason := rules.Decide(c, f)
	got, err := w.Send(c, f)
	switch {
	case err != nil:
		return fmt.Sprintf("wanted %s (%s), failed: %v", want, reason, err)
	case got != want:
		return fmt.Sprintf("wanted %s (%s), went %s", want, reason, got)
	}
	return ""
}

// shrink sets fields of the configuration, then of the flow, back to nothing
// special as long as the difference stays.
func (w *World) shrink(apply Apply, m Mode, c rules.Config, f rules.Flow) (rules.Config, rules.Flow) {
	for _, field := range rules.Fields() {
		smaller := c
		if _, err := smaller.Set(field.Name, field.Default); err != nil {
			continue
		}
		if w.program(apply, m, smaller) == nil && w.difference(smaller, f) != "" {
			c = smaller
		}
	}
	if w.program(apply, m, c) != nil {
		return c, f
	}
	for _, simpler := range []func(*rules.Flow){
		func(f *rules.Flow) { f.UID = 0 }, func(f *rules.Flow) { f.GID = 0 }, func(f *rules.Flow) { f.Mark = 0 },
		func(f *rules.Flow) { f.Cgroup, f.Agent = "", false }, func(f *rules.Flow) { f.SrcPort = 0 },
	} {
		smaller := f
		simpler(&smaller)
		if w.difference(c, smaller) != "" {
			f = smaller
		}
	}
	return c, f
}

// tally counts the flows of each family that each line of the precedence list
// decided.
type tally struct {
	agents  bool // whether any flow is an agent's
	mu      sync.Mutex
	decided [2]map[rules.Reason]int
}

func (c *tally) count(config rules.Config, f rules.Flow) {
	_, reason := rules.Decide(config, f)
	family := 0
	if f.Dst.Is6() {
		family = 1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.decided[family] == nil {
		c.decided[family] = map[rules.Reason]int{}
	}
	c.decided[family][reason]++
}

// demand fails the test where a line decided too little for its claim.
func (c *tally) demand(t *testing.T) {
	least := 0
	switch {
	case *pairs >= longRun:
		least = decidedEnough
	case *pairs >= 2000:
		least = 1
	}
	for _, line := range rules.Precedence() {
		if line.Reason == rules.ReasonAgent && !c.agents {
			continue
		}
		for family, name := range []string{"IPv4", "IPv6"} {
			if n := c.decided[family][line.Reason]; n < least {
				t.Errorf("%q decided %d flows over %s, want at least %d", line.Name, n, name, least)
			}
		}
	}
}

func (c *tally) String() string {
	out, total := "", 0
	for _, line := range rules.Precedence() {
		v4, v6 := c.decided[0][line.Reason], c.decided[1][line.Reason]
		out += fmt.Sprintf(", %s %d+%d", line.Name, v4, v6)
		total += v4 + v6
	}
	return fmt.Sprintf("%d pairs agree (IPv4+IPv6)%s", total, out)
}
