package rulestest

import (
	"encoding/json"
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
)

// Run holds a backend to rules.Decide. A difference is shrunk to the settings it
// needs before it is reported.
func Run(t *testing.T, apply Apply) {
	seed := Seed(t)
	tally := &tally{decided: map[rules.Reason]int{}}
	t.Run("worlds", func(t *testing.T) {
		for i := range worlds {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				w := NewWorld(t)
				r := NewRandom(seed, uint64(i))
				for done := 0; done < *pairs/worlds && !t.Failed(); done += flowsPerConfig {
					w.judge(t, apply, r, tally)
				}
			})
		}
	})
	t.Log(tally)
	for _, line := range rules.Precedence() {
		if inbound := line.Reason >= rules.ReasonExcludedInboundPort && line.Reason <= rules.ReasonInbound; inbound {
			continue
		}
		if *pairs >= 2000 && tally.decided[line.Reason] == 0 {
			t.Errorf("no flow was decided by %q", line.Name)
		}
	}
}

// judge programs one configuration and sends flows through it.
func (w *World) judge(t *testing.T, apply Apply, r Random, tally *tally) {
	c := r.Config()
	if err := w.program(apply, c); err != nil {
		t.Fatalf("apply %s: %v", text(c), err)
	}
	for range flowsPerConfig {
		f := r.Flow()
		if what := w.difference(c, f); what != "" {
			c = w.shrink(apply, c, f)
			t.Fatalf("%s\nconfig %s\nflow %+v", what, text(c), f)
		}
		_, reason := rules.Decide(c, f)
		tally.count(reason)
	}
}

func (w *World) program(apply Apply, c rules.Config) error {
	plan, err := rules.NewPlan(c)
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

// shrink sets fields back to their defaults as long as the difference stays.
func (w *World) shrink(apply Apply, c rules.Config, f rules.Flow) rules.Config {
	for _, field := range rules.Fields() {
		smaller := c
		if _, err := smaller.Set(field.Name, field.Default); err != nil {
			continue
		}
		if w.program(apply, smaller) == nil && w.difference(smaller, f) != "" {
			c = smaller
		}
	}
	return c
}

func text(c rules.Config) string {
	data, err := json.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// tally counts the flows each line of the precedence list decided.
type tally struct {
	mu      sync.Mutex
	decided map[rules.Reason]int
}

func (c *tally) count(r rules.Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.decided[r]++
}

func (c *tally) String() string {
	out, total := "", 0
	for _, line := range rules.Precedence() {
		out += fmt.Sprintf(", %s %d", line.Name, c.decided[line.Reason])
		total += c.decided[line.Reason]
	}
	return fmt.Sprintf("%d pairs agree%s", total, out)
}
