package core_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/holder/wire"
)

// world is what the core's actions are about, as far as it matters: a kernel with
// namespaces, a holder, agents that can be killed. It says what is wrong at once, in
// broken: what must never be, whatever happens in whatever order.
type world struct {
	now        int64
	namespaces map[wire.Netns]*namespace
	holder     holder
	agents     []*agent // the oldest first; dead ones are not among them
	policy     policy
	names      int
	crowded    bool // there was more than one agent when the rosters were told
	paths      int
	broken     []string
	outbox     []step // what the holder has to tell because of what was performed
	factsWait  time.Duration
	checkGap   time.Duration
	byMark     bool
	stays      bool // agents run in pods
}

func newWorld() *world {
	return &world{now: 1, namespaces: map[wire.Netns]*namespace{}, holder: holder{up: true, held: map[wire.Netns]core.Held{}}}
}

func (w *world) breaks(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

// policy is a Decide: by namespace, a hash and a shape.
type policy map[string]core.Decision

func (p policy) decide(d core.Description) core.Decision {
	out, ok := p[d.Name.Namespace]
	if !ok {
		return core.Decision{Why: "not selected"}
	}
	if out.Mark != 0 {
		out.Mark = d.Mark
	}
	if n := d.Ports.Outbound; out.Hash != "" && n != 0 && n != 15001 {
		out.Hash = fmt.Sprintf("%s:%d", out.Hash, n)
		out.Shape = fmt.Sprintf("%s:%d", out.Shape, n)
	}
	return out
}

func (p policy) selects(namespace string) bool { return p[namespace].Selected }

// step is an agent that is given an event.
type step struct {
	agent *agent
	event core.Event
}

// judge looks for what must not be in any state.
func (w *world) judge() {
	for _, a := range w.agents {
		for id := range a.serving {
			n := w.namespaces[id]
			r := n.rules
			if !n.alive || r.state != core.RulesApplied {
				continue
			}
			if r.mark == 0 && !r.slipped && !slices.Contains(r.agents, a.cgroup) {
				w.breaks("%s serves pod %d and is redirected to itself: exempt are %v", a.name, id.Inode, r.agents)
			}
			if (w.byMark || r.mark != 0) && r.mark != uint32(id.Inode)+1000 {
				w.breaks("%s serves pod %d whose rules exempt mark %d", a.name, id.Inode, r.mark)
			}
		}
	}
}
