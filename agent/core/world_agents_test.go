package core_test

import (
	"slices"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/holder/wire"
)

// agent is a process: a core, and what its edge has open.
type agent struct {
	name      string
	cgroup    uint64
	core      *core.State
	connected bool
	admitted  bool // once: a holder remembers who was there, since it may come back
	retired   bool
	ends      bool // by SIGTERM
	serves    bool // said Take
	files     map[core.Files]wire.Netns
	nextFiles core.Files
	toldGone  map[wire.Netns]bool // what it has of these, the holder counts no more
	serving   map[wire.Netns]core.Files
	draining  map[uint64]drainOf
	under     []core.PodAction
	asked     map[uint64]mayChange // by Seq: what allowed a change of rules when it was asked for
	seenSeq   uint64
	greeting  bool // waits for the others' Seen
	stopped   bool // by SIGSTOP
	missed    []core.Event
	late      bool // was stopped; what it does may be of long before
}

type drainOf struct {
	pod     wire.Netns
	files   core.Files
	closing bool
	till    int64
}

type mayChange struct{ unselected bool }

func (w *world) agentNamed(name string) *agent {
	for _, a := range w.agents {
		if a.name == name {
			return a
		}
	}
	return nil
}

// startAgent is a new process, which has not connected yet.
func (w *world) startAgent() *agent {
	w.names++
	a := &agent{
		name: string(rune('a' + (w.names-1)%26)), cgroup: uint64(100 + w.names),
		core:  core.New(core.Settings{FactsWait: w.factsWait, ByMark: w.byMark, CheckGap: w.checkGap, Stays: w.stays}),
		files: map[core.Files]wire.Netns{}, serving: map[wire.Netns]core.Files{},
		draining: map[uint64]drainOf{}, toldGone: map[wire.Netns]bool{}, asked: map[uint64]mayChange{},
	}
	w.agents = append(w.agents, a)
	return a
}

// kill ends a process at once: what it had under way is not done, or was done and
// nobody hears of it (the caller performs it before).
func (w *world) kill(a *agent) []step {
	w.agents = slices.DeleteFunc(w.agents, func(o *agent) bool { return o == a })
	for _, n := range w.namespaces {
		delete(n.conns, a) // reset
	}
	return w.tellRoster()
}

func (w *world) roster(a *agent) core.Roster {
	r := core.Roster{Agents: wire.Agents{Levels: []int{1}, IDs: []uint64{a.cgroup}}}
	for _, o := range w.agents {
		if o == a || !o.admitted && !o.greeting {
			continue
		}
		r.Agents.IDs = append(r.Agents.IDs, o.cgroup)
		r.Others++
		if o.retired {
			continue
		}
		r.Unretired++
		if o.serves {
			r.Rivals++
		}
	}
	slices.Sort(r.Agents.IDs)
	return r
}

func (w *world) tellRoster() (out []step) {
	if !w.holder.up || len(w.agents) < 2 && !w.crowded {
		return nil
	}
	w.crowded = len(w.agents) > 1
	for _, a := range w.agents {
		if a.connected {
			a.seenSeq++
			out = append(out, step{a, core.AgentsChanged{Roster: w.roster(a), Seq: a.seenSeq}})
		}
	}
	return out
}

// greet begins an agent's session: the others are told first, and admit says when they
// have seen it.
func (w *world) greet(a *agent) []step {
	if !w.holder.up || a.connected || a.greeting {
		return nil
	}
	a.greeting = true
	return w.tellRoster()
}

// admit ends it, once every other agent has answered.
func (w *world) admit(a *agent) (out []step) {
	if !a.greeting || !w.holder.up {
		return nil
	}
	for _, o := range w.agents {
		if o.connected && o.seenSeq != 0 && !o.stopped { // that one is waited for 2 s
			return nil
		}
	}
	a.greeting, a.connected, a.admitted = false, true, true
	had := map[wire.Netns]bool{}
	for _, id := range a.files {
		had[id] = true
	}
	c := core.Connected{Roster: w.roster(a)}
	for _, id := range w.sorted() {
		held, ok := w.holder.held[id]
		switch {
		case ok && !had[id] && !a.retired:
			out = append(out, step{a, w.bring(a, held)})
		case !ok && had[id]:
			c.Want = append(c.Want, id)
		}
	}
	return slices.Concat([]step{{a, c}}, out, []step{{a, core.Listed{}}})
}

// step runs an agent's core, and returns what its node's actions lead to.
func (w *world) step(a *agent, e core.Event) (actions []core.Action, more []step) {
	if r, ok := e.(core.Retire); ok {
		a.ends = a.ends || r.Ends
	}
	if a.stopped {
		a.missed = append(a.missed, e)
		return nil, nil
	}
	actions = a.core.Step(w.now, e)
	for _, act := range actions {
		switch act := act.(type) {
		case core.PodAction:
			id := act.At().Pod
			if slices.ContainsFunc(a.under, func(o core.PodAction) bool { return o.At().Pod == id }) {
				w.breaks("%s: %s while another action is under way", a.name, render(act))
			}
			a.under = append(a.under, act)
			n := w.namespaces[id]
			a.asked[act.At().Seq] = mayChange{unselected: a.core.Status().Leaving || !w.policy.selects(n.name.Namespace)}
		case core.Take:
			a.serves = true
			for _, o := range w.agents {
				if o != a && o.connected && !o.retired && o.serves {
					more = append(more, step{o, core.Retire{}})
				}
			}
			more = append(more, w.tellRoster()...)
		case core.Seen:
			if act.Seq == a.seenSeq {
				a.seenSeq = 0
			}
			for _, o := range w.agents {
				more = append(more, w.admit(o)...)
			}
		case core.Retired:
			a.retired, a.late = true, false
			more = append(more, w.tellRoster()...)
		case core.Ended:
			if w.stays && !a.ends {
				w.breaks("%s: ended, and would be started again", a.name)
			}
			if len(a.draining) > 0 || len(a.serving) > 0 {
				w.breaks("%s: ended with %d draining, %d served", a.name, len(a.draining), len(a.serving))
			}
			more = append(more, w.kill(a)...)
		}
	}
	w.judge()
	return actions, more
}

// stop is SIGSTOP, wake SIGCONT: the agent hears of all that it missed, and goes on with
// what it was doing.
func (w *world) stopAgent(a *agent) { a.stopped = true }

func (w *world) wake(a *agent) (out []step) {
	a.stopped, a.late = false, true
	for _, e := range a.missed {
		out = append(out, step{a, e})
	}
	a.missed = nil
	return out
}

// overwrites says that an agent which was stopped exempts fewer than there are.
func (w *world) overwrites(a *agent, those wire.Agents) bool {
	return a.late && !w.byMark && slices.ContainsFunc(w.agents, func(o *agent) bool { return o.admitted && !slices.Contains(those.IDs, o.cgroup) })
}

// superseded says that an agent that was stopped is to retire, since another serves.
func (w *world) superseded(a *agent) bool {
	return a.late && slices.ContainsFunc(w.agents, func(o *agent) bool { return o != a && o.serves && !o.retired })
}
