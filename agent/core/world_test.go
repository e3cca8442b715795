package core_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/selection"
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

type namespace struct {
	id    wire.Netns
	name  selection.Pod
	path  string
	pid   int
	known bool // to the runtime
	// foreign: a pod's own process made it
	foreign bool
	alive   bool
	rules   kernelRules
	conns   map[*agent]int // redirected and open
}

type kernelRules struct {
	state    core.RulesState
	hash     string
	shape    string
	running  bool
	gate     time.Duration
	beatTill int64
	agents   []uint64
	ports    core.Ports
	mark     uint32
	tampered bool
	// slipped: an agent that was stopped meanwhile wrote its exemptions over another's.
	slipped bool
}

type holder struct {
	up   bool
	held map[wire.Netns]core.Held // Files means nothing here
}

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
	if n := d.Ports.Outbound; out.Hash != "" && n != 0 && n != 15001 {
		out.Hash = fmt.Sprintf("%s:%d", out.Hash, n)
		out.Shape = fmt.Sprintf("%s:%d", out.Shape, n)
	}
	return out
}

func (p policy) selects(namespace string) bool { return p[namespace].Selected }

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

// step is an agent that is given an event.
type step struct {
	agent *agent
	event core.Event
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

// bring is a Held event with files of the agent's own.
func (w *world) bring(a *agent, h core.Held) core.Held {
	a.nextFiles++
	a.files[a.nextFiles] = h.Pod
	delete(a.toldGone, h.Pod)
	h.Files = a.nextFiles
	return h
}

func (w *world) sorted() []wire.Netns {
	return slices.SortedFunc(maps.Keys(w.namespaces), func(a, b wire.Netns) int { return int(a.Inode) - int(b.Inode) })
}

func (w *world) namespace(id wire.Netns) *namespace {
	if w.namespaces[id] == nil {
		w.namespaces[id] = &namespace{id: id, conns: map[*agent]int{}}
	}
	return w.namespaces[id]
}

// free says that nothing keeps the namespace alive, so that its inode may be another's.
func (w *world) free(id wire.Netns) bool {
	if n := w.namespaces[id]; n != nil && n.alive {
		return false
	}
	if _, held := w.holder.held[id]; held {
		return false
	}
	for _, a := range w.agents {
		if slices.Contains(slices.Collect(maps.Values(a.files)), id) {
			return false
		}
	}
	return true
}

// newPath is one that no namespace had before: runtimes draw them.
func (w *world) newPath(id wire.Netns) string {
	w.paths++
	return fmt.Sprintf("/run/netns/%d-%d", id.Inode, w.paths)
}

// add is the plugin's hold; commit its rules.
func (w *world) add(id wire.Netns, name selection.Pod, gate time.Duration) (out []step) {
	n := w.namespace(id)
	n.name, n.alive, n.path, n.rules = name, true, w.newPath(id), kernelRules{state: core.RulesNone}
	h := core.Held{
		Pod: id, Name: name, Gate: gate, Ports: core.Ports{Outbound: 15001, DNS: 15053},
		Attachment: wire.Attachment{ContainerID: fmt.Sprint("c", id.Inode), Interface: "eth0", Path: n.path},
		Document:   selection.Document{Mark: uint32(id.Inode) + 1000},
	}
	w.holder.held[id] = h
	for _, a := range w.agents {
		if a.connected && !a.retired {
			out = append(out, step{a, w.bring(a, h)})
		}
	}
	return out
}

func (w *world) commit(id wire.Netns, hash, shape string) {
	n := w.namespaces[id]
	h := w.holder.held[id]
	n.rules = kernelRules{state: core.RulesApplied, hash: hash, shape: shape, gate: h.Gate, ports: h.Ports, beatTill: w.now + int64(h.Gate)}
	if w.byMark {
		n.rules.mark = h.Document.Mark
	}
}

// release is DEL, or the holder that sees the namespace end.
func (w *world) release(id wire.Netns) (out []step) {
	if _, ok := w.holder.held[id]; !ok || !w.holder.up {
		return nil
	}
	delete(w.holder.held, id)
	for _, a := range w.agents {
		if a.connected {
			a.toldGone[id] = true
			out = append(out, step{a, core.Gone{Pod: id}})
		}
	}
	return out
}

// end is a namespace that the runtime removes.
func (w *world) end(id wire.Netns) {
	n := w.namespaces[id]
	n.alive, n.known, n.pid, n.rules = false, false, 0, kernelRules{state: core.RulesNone}
	clear(n.conns)
}

func (w *world) sweep(complete bool) core.Found {
	f := core.Found{Complete: complete}
	for _, id := range w.sorted() {
		if n := w.namespaces[id]; n.alive {
			f.Pods = append(f.Pods, core.FoundPod{Pod: id, Path: n.path, PID: n.pid, Foreign: n.foreign, Known: n.known, Name: w.nameFor(n)})
		}
	}
	return f
}

func (w *world) nameFor(n *namespace) selection.Pod {
	if !n.known {
		return selection.Pod{}
	}
	return n.name
}

// crashHolder ends the holder; its sockets live on where an agent has them.
func (w *world) crashHolder() (out []step) {
	if !w.holder.up {
		return nil
	}
	w.holder.up = false
	for _, a := range w.agents {
		a.greeting = false
		if a.connected {
			a.connected, a.seenSeq = false, 0
			out = append(out, step{a, core.HolderLost{}})
		}
	}
	return out
}

// restartHolder is a new one that reads its state, unless that is lost. What an agent
// listens on it cannot listen on: it waits for the agent to give it back. Another port
// is taken where the old one is not to be had.
func (w *world) restartHolder(stateLost bool) {
	w.holder.up = true
	for id := range w.holder.held {
		n := w.namespaces[id]
		lost := stateLost || n == nil || !n.alive
		for _, a := range w.agents {
			lost = lost || slices.Contains(slices.Collect(maps.Values(a.files)), id)
		}
		if lost {
			delete(w.holder.held, id)
		}
	}
}

// connect is a client in a pod: where its connection comes to, in a word.
func (w *world) connect(id wire.Netns) string {
	n := w.namespaces[id]
	r := n.rules
	if r.state != core.RulesApplied || r.gate > 0 && r.beatTill <= w.now {
		return "direct"
	}
	for _, a := range w.agents {
		if _, ok := a.serving[id]; ok {
			n.conns[a]++
			return "served by " + a.name
		}
	}
	if _, ok := w.holder.held[id]; ok && w.holder.up {
		return "waits"
	}
	for _, a := range w.agents {
		if slices.Contains(slices.Collect(maps.Values(a.files)), id) {
			return "waits"
		}
	}
	return "refused"
}

// disconnect ends an agent's connection; finish answers a drain that has none left.
func (w *world) finish(a *agent) (out []step) {
	for _, seq := range slices.Sorted(maps.Keys(a.draining)) {
		d := a.draining[seq]
		n := w.namespaces[d.pod]
		if n.alive && n.conns[a] > 0 && w.now < d.till {
			continue
		}
		if _, serving := a.serving[d.pod]; !serving {
			delete(n.conns, a)
		}
		delete(a.draining, seq)
		if d.closing {
			delete(a.files, d.files)
		}
		out = append(out, step{a, core.Drained{Pod: d.pod, Stop: seq}})
	}
	return out
}

// take runs an agent's core, and returns what its node's actions lead to.
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

// outcome is how an action goes.
type outcome int

const (
	works outcome = iota
	fails
	worksUnheard // it was done, and an error comes back
)

var errDrawn = errors.New("drawn")

// perform does an action that is under way and returns its Done.
func (w *world) perform(a *agent, act core.PodAction, how outcome) core.Done {
	a.under = slices.DeleteFunc(a.under, func(o core.PodAction) bool { return o.At().Seq == act.At().Seq })
	done := core.Done{Action: act}
	if _, local := act.(core.Stop); local && how == worksUnheard {
		how = works // nobody else has to answer
	}
	if how != fails {
		w.do(a, act, &done)
	}
	if how != works && done.Err == nil {
		done.Err = errDrawn
		if r, ok := act.(core.Release); ok && r.Files != 0 && how == worksUnheard {
			a.files[r.Files] = r.Pod
		}
		if s, ok := act.(core.Start); ok && how == worksUnheard {
			delete(a.serving, s.Pod)
		}
		if o, ok := act.(core.OpenAndHold); ok && how == worksUnheard {
			// The edge closes what it could not hand over, and the holder lets go.
			delete(a.files, done.Files)
			delete(w.holder.held, o.Pod)
			w.tellGone(a, o.Pod)
			done.Files = 0
		}
	}
	w.judge()
	return done
}

func (w *world) do(a *agent, act core.PodAction, done *core.Done) {
	t := act.At()
	n := w.namespaces[t.Pod]
	asked := a.asked[t.Seq]
	delete(a.asked, t.Seq)
	other := t.Path != n.path || t.Path == "" && t.PID != n.pid
	if t.Files == 0 && (!n.alive || other) {
		done.Err = core.ErrGone
		if r, ok := act.(core.Release); ok {
			done.Err = nil
			w.letGo(a, r)
		}
		return
	}
	if t.Files != 0 {
		_, again := act.(core.Stop)
		if id, ok := a.files[t.Files]; (!ok || id != t.Pod) && !again {
			w.breaks("%s: %s: its files are closed", a.name, render(act))
		}
	}
	switch act := act.(type) {
	case core.OpenAndHold:
		w.open(a, act, done)
	case core.Keep:
		if !a.connected {
			done.Err = errors.New("no holder")
			return
		}
		h, known := w.holder.held[t.Pod]
		if known && w.superseded(a) { // the holder takes no word of one that is to retire
			return
		}
		h.Pod, h.Name, h.Gate, h.Ports, h.Document = t.Pod, act.Description.Name, act.Gate, act.Description.Ports, act.Description.Document
		h.Attachment, h.Found = wire.Attachment{ContainerID: act.Container, Path: t.Path}, act.Found
		w.holder.held[t.Pod] = h
		if !known {
			w.bringOthers(a, h)
		}
	case core.Exempt:
		if n.rules.state == core.RulesNone || n.rules.state == core.RulesStandalone {
			done.Err = core.ErrNoRules
			return
		}
		n.rules.agents = act.Agents.IDs
		n.rules.slipped = w.overwrites(a, act.Agents)
	case core.Start:
		a.serving[t.Pod] = t.Files
	case core.Follow:
	case core.ReadBack:
		done.Rules = core.Rules{State: n.rules.state}
		if r := n.rules; r.state == core.RulesApplied || r.state == core.RulesDisabled {
			done.Rules = core.Rules{State: r.state, Hash: r.hash, Shape: r.shape, Running: r.running, Gate: r.gate, Ports: r.ports, Mark: r.mark}
		}
	case core.Apply:
		if act.Decision.Hash == "" {
			w.breaks("%s: %s: nothing to apply", a.name, render(act))
		}
		if _, held := w.holder.held[t.Pod]; !held && t.Files == 0 {
			w.breaks("%s: %s: nobody holds it", a.name, render(act))
		}
		d := act.Decision
		n.rules = kernelRules{
			state: core.RulesApplied, hash: d.Hash, shape: d.Shape, running: act.Running, gate: d.Gate,
			beatTill: w.now + int64(d.Gate), agents: act.Agents.IDs, ports: portsOf(d.Hash),
		}
		n.rules.slipped = w.overwrites(a, act.Agents)
		if w.byMark {
			n.rules.mark = uint32(t.Pod.Inode) + 1000
		}
	case core.ReplaceSets:
		switch {
		case n.rules.state != core.RulesApplied:
			done.Err = core.ErrNoRules
		case n.rules.hash != act.From:
			done.Err = core.ErrOtherRules
		case n.rules.shape != act.Decision.Shape:
			w.breaks("%s: %s: not only the sets differ", a.name, render(act))
		default:
			n.rules.hash = act.Decision.Hash
		}
	case core.Beat:
		if n.rules.state != core.RulesApplied {
			done.Err = core.ErrNoRules
			return
		}
		if _, ok := a.serving[t.Pod]; !ok {
			w.breaks("%s: %s: it is not served", a.name, render(act))
		}
		n.rules.beatTill = w.now + int64(act.Gate)
	case core.Check:
		if r := n.rules; r.tampered || r.state != core.RulesApplied || r.hash != act.Hash {
			done.Drift = "the rules differ"
		}
	case core.Disable:
		w.mustAllow(a, act, n, asked)
		if n.rules.state == core.RulesNone {
			done.Err = core.ErrNoRules
			return
		}
		n.rules.state = core.RulesDisabled
	case core.Remove:
		w.mustAllow(a, act, n, asked)
		for o, open := range n.conns {
			if open > 0 && !a.late {
				w.breaks("%s: %s: resets %d connections of %s", a.name, render(act), open, o.name)
			}
		}
		n.rules = kernelRules{state: core.RulesNone}
	case core.Stop:
		w.stop(a, act, n)
	case core.Release:
		w.letGo(a, act)
		if !a.connected {
			done.Err = errors.New("no holder")
		}
	}
}

// portsOf a hash, where the policy puts another port than the usual.
func portsOf(hash string) core.Ports {
	p := core.Ports{Outbound: 15001, DNS: 15053}
	if _, port, ok := strings.Cut(hash, ":"); ok {
		fmt.Sscan(port, &p.Outbound)
	}
	return p
}

func (w *world) mustAllow(a *agent, act core.PodAction, n *namespace, asked mayChange) {
	if n.alive && !asked.unselected && !a.late {
		w.breaks("%s: %s: policy selects it", a.name, render(act))
	}
}

func (w *world) open(a *agent, act core.OpenAndHold, done *core.Done) {
	if !a.connected {
		done.Err = errors.New("no holder")
		return
	}
	if _, held := w.holder.held[act.Pod]; held && act.Files == 0 {
		done.Err = errors.New("it is held already")
		return
	}
	h := core.Held{
		Pod: act.Pod, Found: true, Name: act.Description.Name, Gate: act.Gate, Document: act.Description.Document,
		Attachment: wire.Attachment{ContainerID: act.Container, Path: act.Path},
		Ports:      core.Ports{Outbound: 15001, DNS: 15053},
	}
	if act.Ports.Outbound != 0 {
		h.Ports = act.Ports
	}
	for _, o := range w.agents { // a port is taken while another agent has the sockets
		if o != a && slices.Contains(slices.Collect(maps.Values(o.files)), act.Pod) {
			h.Ports.Outbound++
		}
	}
	h.Document.Mark = uint32(act.Pod.Inode) + 1000
	w.holder.held[act.Pod] = h
	mine := w.bring(a, h)
	w.bringOthers(a, h)
	done.Files, done.Ports, done.Mark = mine.Files, h.Ports, h.Document.Mark
}

// bringOthers: what one agent gives to the holder, the others get.
func (w *world) bringOthers(a *agent, h core.Held) {
	for _, o := range w.agents {
		has := slices.Contains(slices.Collect(maps.Values(o.files)), h.Pod) && !o.toldGone[h.Pod]
		if o != a && o.connected && !o.retired && !has {
			w.outbox = append(w.outbox, step{o, w.bring(o, h)})
		}
	}
}

func (w *world) stop(a *agent, act core.Stop, n *namespace) {
	if a.serving[act.Pod] == act.Files {
		delete(a.serving, act.Pod)
	}
	if act.Drain > 0 {
		a.draining[act.Seq] = drainOf{pod: act.Pod, files: act.Files, closing: act.Close, till: w.now + int64(act.Drain)}
		return
	}
	if n.alive && n.conns[a] > 0 && n.rules.state != core.RulesNone {
		if _, held := w.holder.held[act.Pod]; held {
			w.breaks("%s: %s: cuts connections of a pod that lives", a.name, render(act))
		}
	}
	delete(n.conns, a)
	for seq, d := range a.draining {
		if d.pod == act.Pod {
			delete(a.draining, seq)
			if d.closing {
				delete(a.files, d.files)
			}
		}
	}
	if act.Close {
		delete(a.files, act.Files)
	}
}

func (w *world) letGo(a *agent, act core.Release) {
	n := w.namespaces[act.Pod]
	if !a.connected {
		return
	}
	if w.superseded(a) { // the holder takes no word of one that is to retire
		delete(a.files, act.Files)
		return
	}
	if n.alive && n.rules.state == core.RulesApplied {
		w.breaks("%s: %s: its rules redirect", a.name, render(act))
	}
	delete(w.holder.held, act.Pod)
	delete(a.files, act.Files)
	w.tellGone(a, act.Pod)
}

// tellGone: what one agent lets go of, the others hear of.
func (w *world) tellGone(a *agent, id wire.Netns) {
	for _, o := range w.agents {
		if o != a && o.connected {
			o.toldGone[id] = true
			w.outbox = append(w.outbox, step{o, core.Gone{Pod: id}})
		}
	}
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
			if !w.byMark && !r.slipped && !slices.Contains(r.agents, a.cgroup) {
				w.breaks("%s serves pod %d and is redirected to itself: exempt are %v", a.name, id.Inode, r.agents)
			}
			if w.byMark && r.mark != uint32(id.Inode)+1000 {
				w.breaks("%s serves pod %d whose rules exempt mark %d", a.name, id.Inode, r.mark)
			}
		}
	}
}
