package core_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/selection"
)

var (
	seed = flag.Uint64("seed", 0, "draw only this world (0: many)")
	draw = flag.Int("draw", 200, "worlds to draw")
)

// drawn is a world in which things happen at random.
type drawn struct {
	*world
	r       *rand.Rand
	log     []string
	dones   []step // performed, not heard of yet
	adding  map[wire.Netns]bool
	addedAt map[wire.Netns]int64
}

const drawnPods = 5

func id(n int) wire.Netns { return wire.Netns{Device: 4, Inode: uint64(n)} }

func TestWhateverHappensTheNodeConverges(t *testing.T) {
	t.Parallel()
	first, last := uint64(1), uint64(*draw)
	if *seed != 0 {
		first, last = *seed, *seed
	}
	for n := first; n <= last; n++ {
		d := &drawn{world: newWorld(), r: rand.New(rand.NewPCG(n, 7)), adding: map[wire.Netns]bool{}, addedAt: map[wire.Netns]int64{}}
		d.byMark = d.r.IntN(6) == 0
		d.stays = d.r.IntN(2) == 0
		if d.r.IntN(2) == 0 {
			d.factsWait = 10 * time.Second
		}
		d.start()
		for range 300 {
			d.happen()
			if len(d.broken) > 0 {
				break
			}
		}
		if len(d.broken) == 0 {
			d.rest()
			d.judgeRest()
		}
		if len(d.broken) > 0 {
			if *seed == 0 {
				d.log = d.log[max(0, len(d.log)-60):]
			}
			t.Fatalf("seed %d:\n%s\n%s", n, strings.Join(d.log, "\n"), strings.Join(d.broken, "\n"))
		}
	}
}

func (d *drawn) note(format string, args ...any) {
	d.log = append(d.log, fmt.Sprintf("%8.3f ", time.Duration(d.now).Seconds())+fmt.Sprintf(format, args...))
}

// give delivers events, and those that follow from them.
func (d *drawn) give(steps []step) {
	for steps = append(steps, d.outbox...); len(steps) > 0; {
		d.outbox = nil
		s := steps[0]
		steps = steps[1:]
		if !slices.Contains(d.agents, s.agent) {
			continue
		}
		actions, more := d.step(s.agent, s.event)
		if name := strings.TrimPrefix(fmt.Sprintf("%T", s.event), "core."); name != "Tick" || len(actions) > 0 {
			d.note("%s + %s", s.agent.name, name)
		}
		for _, a := range actions {
			d.note("%s   > %s", s.agent.name, render(a))
		}
		steps = append(steps, more...)
	}
	for _, a := range slices.Clone(d.agents) {
		if more := d.admit(a); len(more) > 0 {
			d.give(more)
		}
	}
}

func (d *drawn) start() {
	a := d.startAgent()
	d.note("%s starts", a.name)
	d.give([]step{{a, core.PolicyChanged{Generation: 1, Decide: d.policy.decide}}, {a, core.SnapshotReady{}}})
	d.give(d.greet(a))
}

// drawPolicy selects some of three namespaces, one of them perhaps with bypass.
func (d *drawn) drawPolicy() policy {
	p := policy{}
	for _, ns := range []string{"x", "y", "z"} {
		if d.r.IntN(4) == 0 {
			continue
		}
		c := core.Decision{Selected: true, Why: "drawn", Auto: d.r.IntN(2) == 0}
		c.Shape = fmt.Sprintf("s%d", d.r.IntN(2))
		if d.byMark || d.r.IntN(5) == 0 { // with iptables
			c.Mark, c.Shape = 1, c.Shape+"m"
		}
		c.Hash = fmt.Sprintf("%s-%d", c.Shape, d.r.IntN(5))
		if d.r.IntN(3) == 0 {
			c.Gate = 10 * time.Second
		}
		if d.r.IntN(12) == 0 {
			c.Err = "drawn"
		}
		p[ns] = c
	}
	return p
}

func (d *drawn) happen() {
	n := id(1 + d.r.IntN(drawnPods))
	ns := d.namespaces[n]
	alive := ns != nil && ns.alive
	var some *agent
	if len(d.agents) > 0 {
		some = d.agents[d.r.IntN(len(d.agents))]
	}
	switch k := d.r.IntN(100); {
	case k < 36: // an action under way is done
		if some != nil && len(some.under) > 0 && !some.stopped {
			act := some.under[d.r.IntN(len(some.under))]
			how := []outcome{works, works, works, works, works, works, works, fails, worksUnheard}[d.r.IntN(9)]
			done := d.perform(some, act, how)
			d.note("%s   ! %s (%v)", some.name, render(act), done.Err)
			d.dones = append(d.dones, step{some, done})
			d.give(nil)
		}
	case k < 54:
		if len(d.dones) > 0 {
			i := d.r.IntN(len(d.dones))
			done := d.dones[i]
			d.dones = slices.Delete(d.dones, i, i+1)
			d.give([]step{done})
		}
	case k < 64: // time passes
		d.now += int64(time.Duration(d.r.IntN(1500)) * time.Millisecond)
		if d.r.IntN(10) == 0 {
			d.now += int64(time.Duration(d.r.IntN(30)) * time.Second)
		}
		for _, a := range slices.Clone(d.agents) {
			d.give([]step{{a, core.Tick{}}})
		}
	case k < 67:
		complete := d.r.IntN(5) > 0
		for _, a := range slices.Clone(d.agents) {
			d.give([]step{{a, d.sweep(complete)}})
		}
	case k < 72:
		if !alive && d.free(n) && d.holder.up {
			name := selection.Pod{Namespace: string("xyz"[d.r.IntN(3)]), Name: fmt.Sprint("p", n.Inode)}
			var gate time.Duration
			if c := d.policy[name.Namespace]; c.Selected {
				gate = c.Gate
			}
			d.note("ADD %d in %s, gate %s", n.Inode, name.Namespace, gate)
			d.adding[n], d.addedAt[n] = true, d.now
			d.give(d.add(n, name, gate))
		}
	case k < 76: // the plugin's rules come, or it dies before; containers start
		if d.adding[n] && alive {
			delete(d.adding, n)
			if d.r.IntN(5) > 0 && d.held(n) && d.now-d.addedAt[n] < int64(10*time.Second) {
				d.note("ADD %d commits", n.Inode)
				d.commit(n, "s0-0", "s0")
			}
			ns.pid = 1000 + int(n.Inode)
			ns.known = d.factsWait > 0 && d.r.IntN(4) > 0
		}
	case k < 78:
		if !alive && d.free(n) {
			d.note("pod %d is there", n.Inode)
			x := d.namespace(n)
			*x = namespace{
				id: n, alive: true, pid: 2000 + d.r.IntN(1<<20), conns: map[*agent]int{}, rules: kernelRules{state: core.RulesNone},
				name: selection.Pod{Namespace: string("xyz"[d.r.IntN(3)]), Name: fmt.Sprint("p", n.Inode)}, known: d.r.IntN(4) > 0,
			}
			if d.r.IntN(3) > 0 {
				x.path = d.newPath(n)
			}
		}
	case k < 80:
		if alive {
			d.note("DEL %d", n.Inode)
			delete(d.adding, n)
			more := d.release(n)
			d.end(n)
			d.give(more)
		}
	case k < 82:
		if alive && ns.known {
			for _, a := range slices.Clone(d.agents) {
				d.give([]step{{a, core.Facts{Pod: n, Name: ns.name}}})
			}
		}
	case k < 85:
		d.policy = d.drawPolicy()
		d.note("policy %v", d.policy)
		for _, a := range slices.Clone(d.agents) {
			d.give([]step{{a, core.PolicyChanged{Decide: d.policy.decide}}})
		}
	case k < 87:
		p := policy{}
		for _, ns := range slices.Sorted(maps.Keys(d.policy)) {
			c := d.policy[ns]
			if c.Auto {
				c.Hash = fmt.Sprintf("%s-%d", c.Shape, d.r.IntN(5))
			}
			p[ns] = c
		}
		d.policy = p
		for _, a := range slices.Clone(d.agents) {
			d.give([]step{{a, core.RangesChanged{Decide: d.policy.decide}}})
		}
	case k < 90: // kill -9, with what it had under way done or not
		if some != nil {
			for _, act := range slices.Clone(some.under) {
				if !some.stopped && d.r.IntN(2) == 0 {
					d.perform(some, act, works)
				}
			}
			d.note("%s is killed", some.name)
			d.give(d.kill(some))
			d.resumeOldest()
		}
	case k < 93:
		if len(d.agents) < 3 && (len(d.agents) == 0 || d.r.IntN(3) == 0) {
			d.start()
		}
	case k < 94:
		if some != nil {
			d.note("%s gets SIGTERM", some.name)
			d.give([]step{{some, core.Retire{Ends: true}}})
		}
	case k < 96:
		if d.holder.up {
			if d.r.IntN(3) == 0 {
				d.note("the holder is killed")
				d.give(d.crashHolder())
			}
		} else {
			lost := d.r.IntN(3) == 0
			d.note("the holder is back, state lost %t", lost)
			d.restartHolder(lost)
		}
	case k < 97:
		if alive && ns.rules.state == core.RulesApplied {
			d.note("rules of %d are flushed", n.Inode)
			if d.r.IntN(2) == 0 {
				ns.rules.tampered = true
			} else if len(d.servers(n)) == 0 {
				ns.rules = kernelRules{state: core.RulesNone}
				clear(ns.conns)
			}
		}
	case k < 98:
		if alive {
			d.connect(n)
		}
	case k < 99 && some != nil && d.r.IntN(3) == 0:
		d.stopOrWake(some)
	default:
		d.others()
	}
}

func (d *drawn) stopOrWake(a *agent) {
	if a.stopped {
		d.note("%s is woken", a.name)
		d.give(d.wake(a))
		return
	}
	d.note("%s is stopped", a.name)
	d.stopAgent(a)
}

// others is what goes on by itself.
func (d *drawn) others() {
	for _, a := range slices.Clone(d.agents) {
		d.give(d.greet(a))
		for _, ns := range d.namespaces {
			if ns.conns[a] > 0 {
				ns.conns[a]--
			}
		}
		d.give(d.finish(a))
	}
	for _, n := range d.sorted() { // the holder watches paths
		if _, held := d.holder.held[n]; held && !d.namespaces[n].alive && d.holder.held[n].Attachment.Path != "" {
			d.give(d.release(n))
		}
	}
}

// resumeOldest: an agent that drains is told when nobody serves any more.
func (d *drawn) resumeOldest() {
	for _, a := range d.agents {
		if a.serves && !a.retired {
			return
		}
	}
	for _, a := range d.agents {
		if a.retired && a.connected && !a.ends {
			a.retired = false
			var missed []step
			for _, n := range d.sorted() {
				if h, ok := d.holder.held[n]; ok && !slices.Contains(slices.Collect(maps.Values(a.files)), n) {
					missed = append(missed, step{a, d.bring(a, h)})
				}
			}
			d.give(append(missed, step{a, core.Resume{}}))
			return
		}
	}
}

func (d *drawn) held(n wire.Netns) bool {
	_, ok := d.holder.held[n]
	return ok
}

func (d *drawn) servers(n wire.Netns) (out []*agent) {
	for _, a := range d.agents {
		if _, ok := a.serving[n]; ok {
			out = append(out, a)
		}
	}
	return out
}

// rest lets everything that is under way come to its end, with nothing new.
func (d *drawn) rest() {
	d.note("rest")
	if !d.holder.up {
		d.restartHolder(false)
	}
	for _, a := range slices.Clone(d.agents) {
		if a.stopped {
			d.stopOrWake(a)
		}
	}
	for len(d.agents) > 1 {
		d.give(d.kill(d.agents[0]))
	}
	if len(d.agents) == 0 || d.agents[0].core.Status().Retired {
		for _, a := range slices.Clone(d.agents) {
			d.give(d.kill(a))
		}
		d.start()
	}
	for n := range d.adding {
		d.namespaces[n].pid = 1
	}
	for _, ns := range d.namespaces {
		ns.known = ns.known || d.factsWait > 0 && ns.alive && ns.pid != 0
	}
	for second := range 250 {
		d.others()
		for _, a := range slices.Clone(d.agents) {
			if second%10 == 0 {
				d.give([]step{{a, d.sweep(true)}})
			}
			for range 40 {
				for _, act := range slices.Clone(a.under) {
					done := d.perform(a, act, works)
					d.note("%s   ! %s (%v)", a.name, render(act), done.Err)
					d.dones = append(d.dones, step{a, done})
				}
				dones := d.dones
				d.dones = nil
				d.give(dones)
				d.give([]step{{a, core.Tick{}}})
				d.now += int64(25 * time.Millisecond)
			}
		}
	}
}

// judgeRest says what is not as it should be in the end.
func (d *drawn) judgeRest() {
	a := d.agents[0]
	if !a.connected || !a.serves {
		d.breaks("%s: connected %t, took over %t", a.name, a.connected, a.serves)
		return
	}
	held := 0
	for _, n := range d.sorted() {
		ns := d.namespaces[n]
		h, isHeld := d.holder.held[n]
		if isHeld {
			held++
		}
		if !ns.alive {
			if isHeld {
				d.breaks("pod %d is gone and held", n.Inode)
			}
			continue
		}
		if ns.rules.slipped {
			d.breaks("pod %d: exempt are %v, of before an agent was stopped", n.Inode, ns.rules.agents)
		}
		want := d.policy.decide(core.Description{Name: ns.name, Ports: h.Ports, Mark: h.Document.Mark})
		serves := len(d.servers(n)) == 1
		switch identifiable := ns.known || h.Name.Name != ""; {
		case identifiable && want.Selected && want.Err == "":
			if ns.rules.state != core.RulesApplied || ns.rules.hash != want.Hash || ns.rules.gate != want.Gate || ns.rules.tampered {
				d.breaks("pod %d: rules %+v, not %+v", n.Inode, ns.rules, want)
			}
			if want.Gate > 0 && ns.rules.beatTill <= d.now {
				d.breaks("pod %d: no beat for %s", n.Inode, time.Duration(d.now-ns.rules.beatTill))
			}
			if !isHeld || !serves { // (a Keep of an agent that died since may have changed the gate)
				d.breaks("pod %d: held %t, served %t", n.Inode, isHeld, serves)
			}
		case identifiable && !want.Selected:
			if ns.rules.state != core.RulesNone || isHeld || serves {
				d.breaks("pod %d: not selected, has rules %s, held %t, served %t", n.Inode, ns.rules.state, isHeld, serves)
			}
		case ns.rules.state == core.RulesApplied:
			if !isHeld || !serves {
				d.breaks("pod %d: nobody can say what it should be; held %t, served %t", n.Inode, isHeld, serves)
			}
		}
	}
	if len(a.files) != held {
		d.breaks("%s has %d files for %d pods: %v", a.name, len(a.files), held, a.files)
	}
	if len(a.draining) > 0 {
		d.breaks("%s has %d draining", a.name, len(a.draining))
	}
	for _, act := range a.under {
		switch act.(type) {
		case core.Beat, core.Check, core.ReadBack, core.Exempt: // go on for ever
		default:
			d.breaks("%s: %s is still under way", a.name, render(act))
		}
	}
	if len(d.broken) > 0 {
		d.note("%s", renderStatus(a.core.Status()))
	}
}
