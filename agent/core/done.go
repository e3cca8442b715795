package core

import (
	"errors"
	"slices"
	"time"
)

// done takes in what came of an action.
func (s *State) done(e Done) {
	t := e.Action.At()
	p := s.pods[t.Pod]
	if p == nil || p.doing == nil || p.doing.At().Seq != t.Seq {
		return // an edge that answers twice
	}
	a, gen := p.doing, p.doingGen
	p.doing, p.doingGen = nil, 0
	s.busy--
	s.touch(p)
	if p.again {
		p.again = false
		defer p.unknown()
	}
	k := KindOf(a)
	if t.Files != p.files && s.outdated(p, a, e.Err) {
		return
	}
	if _, started := a.(Start); started && e.Err == nil {
		e.Err = p.fell
	}
	if e.Err != nil {
		s.undone(p, a, k, e.Err)
		return
	}
	p.worked(k)
	switch a := a.(type) {
	case OpenAndHold:
		s.opened(p, a.Gate, e)
		p.tellGone = p.gone // the holder's Gone may have been of before
	case Keep:
		p.tellGone = p.gone
		p.held, p.heldGate = p.doingIn == s.session, a.Gate
	case Exempt:
		p.exempted = gen
	case Start:
		s.serves(p, t.Files)
		p.told = p.version
		p.beatAt = s.now
	case Follow:
		p.told = p.version
	case ReadBack:
		s.read(p, e.Rules)
	case Apply:
		p.exempted, p.applyWhole, p.committed = gen, false, true
		p.rules = Rules{
			State: RulesApplied, Hash: a.Decision.Hash, Shape: a.Decision.Shape, Config: a.Decision.Config,
			Running: a.Running, Gate: a.Decision.Gate, Auto: a.Decision.Auto, Ports: p.described.Ports,
			Mark: a.Decision.Mark,
		}
		p.beatAt = s.now + int64(beatEvery(a.Decision.Gate))
		p.recorded()
	case ReplaceSets:
		p.rules.Hash, p.rules.Config, p.rules.Auto = a.Decision.Hash, a.Decision.Config, a.Decision.Auto
		p.recorded()
	case Beat:
		p.beatAt = s.now + int64(beatEvery(a.Gate))
	case Check:
		p.checkDue = false
		if e.Drift != "" {
			p.drifts++
			p.rules.State, p.applyWhole, p.exempted = RulesUnknown, true, 0
		}
	case Disable:
		p.rules.State, p.disabledAt = RulesDisabled, s.now
	case Remove:
		p.rules, p.committed, p.last = Rules{State: RulesNone}, true, nil
	case Stop:
		s.stopped(p, a)
	case Release:
		p.held, p.files, p.tellGone = false, 0, false
		p.rules = Rules{State: RulesUnknown}
	}
}

// outdated takes in the end of an action about other sockets than the pod has by now, or
// even about a namespace that had its inode before. Those that are about their own Files
// count as ever.
func (s *State) outdated(p *pod, a PodAction, err error) bool {
	switch a.(type) {
	case OpenAndHold, Start, Stop:
		return false
	case Release:
		p.held = false // perhaps: a Keep tells
		if err == nil {
			p.stale = slices.DeleteFunc(p.stale, func(f Files) bool { return f == a.At().Files })
		}
	default:
		p.unknown()
	}
	return true
}

// beatEvery is how often a gate is renewed: two beats may fail. What a pod's rules say
// may be forged, where it may change them: nothing else would be done for it any more.
func beatEvery(gate time.Duration) time.Duration { return max(gate/3, time.Second) }

// undone takes in that an action failed. What it was to change may have changed.
func (s *State) undone(p *pod, a PodAction, k Kind, err error) {
	if errors.Is(err, ErrGone) && p.files == 0 {
		p.found = false
		return
	}
	noRules := errors.Is(err, ErrNoRules)
	switch a.(type) {
	case Exempt, Disable:
		if noRules {
			p.rules, p.exempted, p.noneAt = Rules{State: RulesNone}, 0, p.doingAt
			p.worked(k)
			return
		}
		if errors.Is(err, ErrOtherRules) {
			p.rules, p.exempted = Rules{State: RulesUnknown}, 0 // reading tells which
		}
	case Release:
		p.held = false // perhaps: it is given back if it is wanted again
	case Beat:
		if noRules {
			p.rules.State, p.exempted = RulesUnknown, 0
		}
	}
	p.failed(k, s.now, err)
	switch a.(type) {
	case Apply, ReplaceSets, Disable, Remove:
		p.rules.State = RulesUnknown
		p.exempted = 0
		p.applyWhole = p.applyWhole || errors.Is(err, ErrOtherRules)
	}
}

// opened: the holder has the sockets that were opened in a running pod.
func (s *State) opened(p *pod, gate time.Duration, e Done) {
	if p.files != 0 && p.files != e.Files {
		p.stale = append(p.stale, p.files)
	}
	p.byAgent = p.byAgent || p.files == 0
	p.files, p.held, p.heldAt, p.committed = e.Files, p.doingIn == s.session, s.now, true
	p.heldGate = gate
	s.tell(p, func(d *Description) {
		d.Ports, d.Mark = e.Ports, e.Mark
		d.Document.Mark = e.Mark
	})
}

func (s *State) serves(p *pod, f Files) {
	if p.served == 0 && f != 0 {
		s.serving++
	} else if p.served != 0 && f == 0 {
		s.serving--
	}
	p.served = f
}

func (s *State) read(p *pod, r Rules) {
	p.rules, p.readAt = r, s.now
	if p.files == 0 {
		p.checkDue = false
	}
	if r.State == RulesNone {
		p.exempted, p.noneAt = 0, p.doingAt
	} else {
		p.committed = true
	}
	if r.Mark != 0 {
		p.worked(kindExempt) // is not needed
	}
	if r.State == RulesApplied {
		p.recorded()
	}
}

// recorded notes the decision that the applied rules were made from.
func (p *pod) recorded() {
	r := p.rules
	p.last = &Decision{
		Selected: true, Why: "as its rules say", Hash: r.Hash, Shape: r.Shape,
		Auto: r.Auto, DNS: r.Ports.DNS != 0, Gate: r.Gate, Mark: r.Mark, Config: r.Config,
	}
}

func (s *State) stopped(p *pod, a Stop) {
	if p.served == a.Files {
		s.serves(p, 0)
	}
	if a.Close {
		p.stale = slices.DeleteFunc(p.stale, func(f Files) bool { return f == a.Files })
		if p.files == a.Files {
			p.files = 0
		}
	}
	if a.Drain > 0 && p.drained {
		p.drained = false
		return
	}
	if a.Drain > 0 {
		p.drains = append(p.drains, a.Seq)
		s.open[a.Seq] = struct{}{}
		return
	}
	for _, seq := range p.drains { // cut as well
		delete(s.open, seq)
	}
	p.drains = nil
}
