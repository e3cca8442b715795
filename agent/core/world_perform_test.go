package core_test

import (
	"errors"
	"maps"
	"slices"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/holder/wire"
)

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
		if n.rules.iptables {
			done.Err = core.ErrOtherRules
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
			mark: d.Mark, iptables: d.Mark != 0 && !w.byMark,
		}
		n.rules.slipped = w.overwrites(a, act.Agents)
	case core.ReplaceSets:
		switch {
		case n.rules.state != core.RulesApplied:
			done.Err = core.ErrNoRules
		case n.rules.hash != act.From, n.rules.iptables:
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
