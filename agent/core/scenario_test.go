package core_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/internal/scenario"
	"github.com/sluice-cni/sluice/selection"
)

// Scenarios are testdata/*.txt (see package scenario). A line that begins with + lets
// something happen (see stage.do), ? asks; actions have the agent's name and the pod.
// Agents are a, b, … in the order of their start; their cgroups are 101, 102, …
func TestScenarios(t *testing.T) {
	t.Parallel()
	scenario.Run(t, func(t *testing.T, out *scenario.Transcript) scenario.Player {
		s := &stage{world: newWorld(), t: t, out: out}
		t.Cleanup(func() {
			for _, wrong := range s.broken {
				t.Error(wrong)
			}
		})
		return s
	})
}

// stage is the world that a scenario plays in.
type stage struct {
	*world
	t   *testing.T
	out *scenario.Transcript
}

func (s *stage) Do(line string, words []string) {
	s.out.Line(line)
	s.do(words)
}

func (s *stage) Ask(line string, words []string) {
	s.out.Line(line)
	s.answer(words)
}

// give delivers events and writes what the agents want to do.
func (s *stage) give(steps []step) {
	for steps = append(steps, s.outbox...); len(steps) > 0; {
		s.outbox = nil
		next := steps[0]
		steps = steps[1:]
		if !slices.Contains(s.agents, next.agent) {
			continue
		}
		actions, more := s.step(next.agent, next.event)
		for _, a := range actions {
			s.out.Action("%s %s", next.agent.name, render(a))
		}
		steps = append(steps, more...)
	}
	for _, a := range slices.Clone(s.agents) {
		if more := s.admit(a); len(more) > 0 {
			s.give(more)
		}
	}
}

func (s *stage) giveAll(e core.Event) {
	for _, a := range slices.Clone(s.agents) {
		s.give([]step{{a, e}})
	}
}

// settle performs what is under way, and what follows, until nothing is left.
func (s *stage) settle() {
	for busy := true; busy; {
		busy = false
		for _, a := range slices.Clone(s.agents) {
			for len(a.under) > 0 && slices.Contains(s.agents, a) && !a.stopped {
				busy = true
				s.give([]step{{a, s.perform(a, a.under[0], works)}})
			}
		}
	}
}

// wait lets time pass while everything works.
func (s *stage) wait(d time.Duration, work bool) {
	end := s.now + int64(d)
	for s.now < end {
		at := end
		for _, a := range s.agents {
			if next, ok := a.core.Next(); ok && next > s.now {
				at = min(at, next)
			}
		}
		s.now = at
		s.giveAll(core.Tick{})
		if work {
			s.settle()
		}
	}
}

// do lets one thing happen.
func (s *stage) do(words []string) {
	verb, args := words[0], words[1:]
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	has := func(word string) bool { return slices.Contains(args, word) }
	pod := func() *namespace {
		n, err := strconv.Atoi(arg(0))
		if err != nil {
			s.t.Fatalf("%v: no pod", words)
		}
		return s.namespace(id(n))
	}
	switch verb {
	case "facts-wait": // agents started from now on have a runtime to ask
		s.factsWait = s.duration(arg(0))
	case "by-mark": // on this kernel cgroups tell nothing
		s.byMark = true
	case "start": // an agent; later by default it has a configuration and the policy
		a := s.startAgent()
		if !has("no-policy") {
			s.give([]step{{a, core.PolicyChanged{Decide: s.policy.decide}}})
		}
		if !has("no-snapshot") {
			s.give([]step{{a, core.SnapshotReady{}}})
		}
		if !has("unconnected") {
			s.give(s.greet(a))
		}
	case "snapshot":
		s.giveAll(core.SnapshotReady{})
	case "connect": // agents that lost the holder find it again
		for _, a := range slices.Clone(s.agents) {
			s.give(s.greet(a))
		}
	case "policy", "ranges":
		s.policy = s.readPolicy(args)
		if verb == "policy" {
			s.giveAll(core.PolicyChanged{Decide: s.policy.decide})
		} else {
			s.giveAll(core.RangesChanged{Decide: s.policy.decide})
		}
	case "add": // the plugin holds a pod
		var gate time.Duration
		if text, ok := strings.CutPrefix(arg(2), "gate="); ok {
			gate = s.duration(text)
		}
		n := pod()
		s.give(s.add(n.id, podName(arg(1)), gate))
	case "commit": // and applies its rules
		hash, shape, _ := strings.Cut(arg(1), "/")
		s.commit(pod().id, hash, shape)
	case "del": // the runtime's DEL, then the namespace's end
		n := pod()
		more := s.release(n.id)
		s.end(n.id)
		s.give(more)
	case "end": // of a namespace, without a DEL
		s.end(pod().id)
	case "running": // a pod that no plugin saw
		n := pod()
		n.alive, n.pid, n.name, n.known, n.rules = true, 4000+int(n.id.Inode), podName(arg(1)), !has("unknown"), kernelRules{state: core.RulesNone}
		n.foreign = has("foreign")
		if !has("no-path") {
			n.path = s.newPath(n.id)
		}
	case "forge": // whoever may change its rules writes some like ours
		r := &pod().rules
		r.state, r.hash, r.shape, r.gate, r.ports = core.RulesApplied, "forged", "forged", s.duration(arg(1)), core.Ports{Outbound: 15001}
	case "standalone":
		pod().rules.state = core.RulesStandalone
	case "process": // containers start; the runtime knows the pod
		n := pod()
		n.pid, n.known = 4000+int(n.id.Inode), !has("unknown")
	case "sweep":
		s.giveAll(s.sweep(!has("partial")))
	case "facts":
		s.giveAll(core.Facts{Pod: pod().id, Name: pod().name})
	case "flush": // somebody takes the rules out
		pod().rules = kernelRules{state: core.RulesNone}
	case "tamper": // or changes them
		pod().rules.tampered = true
	case "client": // in the pod connects
		s.out.Answer("%s", s.connect(pod().id))
	case "fall": // its proxy's sockets fail
		for _, a := range slices.Clone(s.agents) {
			if f := a.serving[pod().id]; f != 0 {
				delete(a.serving, pod().id)
				s.give([]step{{a, core.Fell{Pod: pod().id, Files: f, Err: errors.New("accept: broken")}}})
			}
		}
	case "hangup": // its connections end
		clear(pod().conns)
		for _, a := range slices.Clone(s.agents) {
			s.give(s.finish(a))
		}
	case "done": // one action is done: POD [fails|unheard] [AGENT]
		s.doneOne(pod(), args[1:])
	case "settle":
		s.settle()
	case "wait":
		s.wait(s.duration(arg(0)), true)
	case "tick": // time passes, nothing is done
		s.wait(s.duration(arg(0)), false)
	case "jump": // the clock is set: monotonic ones do not do that
		s.now += int64(s.duration(arg(0)))
		s.giveAll(core.Tick{})
	case "kill": // AGENT; "after" it did what it had under way and did not hear of it
		a := s.agentNamed(arg(0))
		if has("after") {
			for _, act := range slices.Clone(a.under) {
				s.perform(a, act, works)
			}
		}
		s.give(s.kill(a))
	case "stop": // SIGSTOP: it hears of nothing, and does nothing
		s.stopAgent(s.agentNamed(arg(0)))
	case "wake":
		s.give(s.wake(s.agentNamed(arg(0))))
	case "sigterm":
		s.give([]step{{s.agentNamed(arg(0)), core.Retire{Ends: true}}})
	case "retire": // another serves: the holder says so
		s.give([]step{{s.agentNamed(arg(0)), core.Retire{}}})
	case "pods": // agents started from now on run in pods, and are started again
		s.stays = true
	case "resume": // the holder gives an agent that drains its work back
		a := s.agentNamed(arg(0))
		a.retired = false
		var missed []step
		for _, id := range s.sorted() {
			if h, held := s.holder.held[id]; held && !slices.Contains(slices.Collect(maps.Values(a.files)), id) {
				missed = append(missed, step{a, s.bring(a, h)})
			}
		}
		s.give(append(missed, step{a, core.Resume{}}))
	case "holder":
		switch arg(0) {
		case "dies":
			s.give(s.crashHolder())
		case "returns":
			s.restartHolder(has("without-state"))
			for _, a := range slices.Clone(s.agents) {
				s.give(s.greet(a))
			}
		}
	case "leave":
		s.policy = policy{}
		s.giveAll(core.Leave{})
	default:
		s.t.Fatalf("%v: no such command", words)
	}
}

func (s *stage) doneOne(n *namespace, args []string) {
	how := works
	switch {
	case slices.Contains(args, "fails"):
		how = fails
	case slices.Contains(args, "unheard"):
		how = worksUnheard
	}
	for _, a := range slices.Backward(s.agents) {
		if last := len(args) - 1; last >= 0 && len(args[last]) == 1 && a.name != args[last] {
			continue
		}
		for _, act := range a.under {
			if act.At().Pod == n.id {
				s.give([]step{{a, s.perform(a, act, how)}})
				return
			}
		}
	}
	s.t.Fatalf("%v: nothing is under way", n.id)
}

func (s *stage) answer(words []string) {
	switch words[0] {
	case "status":
		for _, a := range s.agents {
			s.out.Answer("%s %s", a.name, renderStatus(a.core.Status()))
		}
	case "news":
		for _, a := range s.agents {
			for _, n := range a.core.TakeNews() {
				s.out.Answer("%s %d %s %s (%s) before=%t", a.name, n.Pod.Inode, n.Name, n.State, n.Reason, n.Before)
			}
		}
	case "kernel":
		for _, id := range s.sorted() {
			n := s.namespaces[id]
			_, held := s.holder.held[id]
			text := fmt.Sprintf("%d alive=%t held=%t rules=%s", id.Inode, n.alive, held, n.rules.state)
			if n.rules.state == core.RulesApplied || n.rules.state == core.RulesDisabled {
				text += fmt.Sprintf("/%s exempt %v", n.rules.hash, n.rules.agents)
			}
			s.out.Answer("%s", text)
		}
	default:
		s.t.Fatalf("%v: no such question", words)
	}
}

func (s *stage) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func podName(text string) selection.Pod {
	namespace, name, _ := strings.Cut(text, "/")
	return selection.Pod{Namespace: namespace, Name: name}
}

// readPolicy reads NAMESPACE=HASH/SHAPE[,gate=10s][,auto][,iptables][,err=TEXT][,outbound=WORD][,alone=MESH] …
func (s *stage) readPolicy(words []string) policy {
	p := policy{}
	for _, word := range words {
		namespace, rest, _ := strings.Cut(word, "=")
		parts := strings.Split(rest, ",")
		d := core.Decision{Selected: true, Why: "policy"}
		d.Hash, d.Shape, _ = strings.Cut(parts[0], "/")
		if s.byMark {
			d.Mark = 1
		}
		for _, part := range parts[1:] {
			switch key, value, _ := strings.Cut(part, "="); key {
			case "gate":
				d.Gate = s.duration(value)
			case "iptables":
				d.Mark = 1
			case "auto":
				d.Auto = true
			case "err":
				d.Err = value
			case "outbound":
				d.Outbound = value
			case "alone": // another mesh's sidecar serves it
				d = core.Decision{Why: value + " serves it", LeftAlone: value}
			}
		}
		p[namespace] = d
	}
	return p
}
