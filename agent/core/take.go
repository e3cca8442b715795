package core

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/selection"
)

// take brings an event's news into the state; what follows from them is next's.
func (s *State) take(e Event) {
	switch e := e.(type) {
	case Connected:
		s.connectedAgain(e)
	case Listed:
		s.listed, s.taken = true, false
		s.takeBy = s.now + int64(s.settings.TakeLimit)
		s.touchAll() // what a sweep found before is nobody's, it turns out
	case HolderLost:
		s.connected, s.listed = false, false
	case Held:
		s.held(e)
	case Gone:
		s.letGoByHolder(e.Pod)
	case Found:
		s.sweep(e)
	case Facts:
		if p := s.pods[e.Pod]; p != nil && !p.gone && p.mayBe(e.Name) {
			s.tell(p, func(d *Description) { d.Name, d.DNS, d.Facts = e.Name, e.DNS, true })
		}
	case Noted:
		if p := s.pods[e.Pod]; p != nil {
			p.notes = e.Warnings
		}
	case PolicyChanged:
		s.decide, s.generation = e.Decide, e.Generation
		for _, p := range s.order {
			s.decideAgain(p)
		}
	case RangesChanged:
		s.decide = e.Decide
		for _, p := range s.order {
			if p.decision.Auto || p.decision.Err != "" {
				s.decideAgain(p)
			}
		}
	case SnapshotReady:
		s.snapshot = true
		s.touchAll()
	case AgentsChanged:
		s.present(e.Roster)
		s.seenSeq, s.seenDue = e.Seq, true
	case Retire:
		s.alone = s.alone || e.Ends && !s.retired
		s.retired, s.ends = true, s.ends || e.Ends
		s.touchAll()
	case Resume:
		s.resume()
	case Leave:
		s.leaving = true
		for _, p := range s.order {
			p.retryNow()
			s.touch(p)
		}
	case Drained:
		s.drained(e)
	case Fell:
		s.fell(e)
	case Done:
		s.done(e)
	case Tick:
	}
}

func (s *State) connectedAgain(e Connected) {
	s.connected, s.listed = true, false
	s.session++
	s.present(e.Roster)
	for _, id := range e.Want {
		if p := s.pods[id]; p != nil {
			p.held = false
		}
	}
	for _, p := range s.order {
		for _, k := range []Kind{kindOpen, kindKeep, kindRelease} {
			p.back[k].until = 0
		}
		s.touch(p)
	}
}

// present takes in which agents there are. The same ones again are no change.
func (s *State) present(r Roster) {
	before := s.roster
	s.roster = r
	if s.agentsGen == 0 || !slices.Equal(r.Agents.IDs, before.Agents.IDs) || !slices.Equal(r.Agents.Levels, before.Agents.Levels) {
		s.agentsGen++
	}
	if r.Unretired < before.Unretired { // nothing of that one's comes after this
		for _, p := range s.order {
			p.exempted = 0
		}
	}
	if before.Rivals > 0 && r.Rivals == 0 || r.Unretired < before.Unretired {
		s.readAllAgain() // somebody else was at the rules until now
	}
	s.touchAll()
}

// readAllAgain takes nothing for known that another agent may have changed meanwhile: what
// is under way may have been done before that.
func (s *State) readAllAgain() {
	for _, p := range s.order {
		if p.files != 0 {
			p.rules = Rules{State: RulesUnknown}
		}
		p.again = p.doing != nil
		s.touch(p)
	}
}

// unknown: the pod's rules have to be read, and the agents exempted in them.
func (p *pod) unknown() { p.rules, p.exempted = Rules{State: RulesUnknown}, 0 }

// leads says that this agent is the one to change rules.
func (s *State) leads() bool {
	return !s.retired && s.roster.Rivals == 0 && (s.taken || s.roster.Others == 0)
}

// held is a pod that the holder brings: known or new.
func (s *State) held(e Held) {
	p := s.pods[e.Pod]
	if p != nil && p.gone {
		if p.reborn != nil {
			p.stale = append(p.stale, p.reborn.Files)
		}
		p.reborn = &e
		return
	}
	if p == nil {
		p = s.add(e.Pod)
	} else if p.described.Facts && another(p.described.Name, e.Name) {
		p.forgetWhatItWas()
	}
	if p.files != 0 && p.files != e.Files {
		p.stale = append(p.stale, p.files)
	}
	p.files, p.held, p.heldGate, p.heldAt = e.Files, true, e.Gate, s.now
	p.attachment, p.byAgent, p.before = e.Attachment, e.Found, !s.taken
	p.named = !e.Found || e.Name.Name != ""
	p.container = cmp.Or(e.Attachment.ContainerID, p.container)
	p.committed, p.polls, p.pollAt = e.Found, 0, 0
	p.unknown()
	p.retryNow()
	s.touch(p)
	if e.Name.Name != "" && s.settings.FactsWait > 0 {
		p.factsBy = s.now + int64(s.settings.FactsWait)
	}
	s.tell(p, func(d *Description) {
		d.Document, d.Ports, d.Mark = e.Document, e.Ports, e.Document.Mark
		if !d.Facts {
			d.Name, d.DNS = e.Name, e.Document.DNS
		}
	})
}

// another says that two names cannot be the same pod's.
func another(a, b selection.Pod) bool {
	return a.Namespace != b.Namespace || a.Name != b.Name || a.UID != "" && b.UID != "" && a.UID != b.UID
}

// mayBe says that somebody who calls the pod by this name can mean it. What ADD called it
// stands: others may have been led there by the number of a process that has ended.
func (p *pod) mayBe(name selection.Pod) bool {
	return p.files == 0 || p.byAgent || p.described.Name.Name == "" || !another(p.described.Name, name)
}

// forgetWhatItWas: a sweep saw a namespace that has ended since, and this one has its
// inode. (Nobody held it, so the kernel could give it to another.)
func (p *pod) forgetWhatItWas() {
	p.described, p.version, p.named, p.last = Description{}, 0, false, nil
	p.rules, p.path, p.pid, p.container = Rules{State: RulesUnknown}, "", 0, ""
}

// letGoByHolder: what this agent is about to release itself may still be there.
func (s *State) letGoByHolder(id wire.Netns) {
	p := s.pods[id]
	if p == nil {
		return
	}
	if p.reborn != nil { // the new one has ended before the old one is closed
		p.stale = append(p.stale, p.reborn.Files)
		p.reborn = nil
		s.touch(p)
		return
	}
	_, own := p.doing.(Release)
	_, opening := p.doing.(OpenAndHold) // held, but its Done has not come yet
	if !own && (p.files != 0 || opening) {
		s.lost(p)
	}
}

// lost is a namespace that is no more.
func (s *State) lost(p *pod) {
	p.gone, p.held = true, false
	p.retryNow()
	s.touch(p)
}

// sweep takes in which namespaces there are.
func (s *State) sweep(e Found) {
	seen := make(map[wire.Netns]bool, len(e.Pods))
	for _, f := range e.Pods {
		seen[f.Pod] = true
		s.saw(f)
	}
	s.swept = s.swept || e.Complete
	if !e.Complete {
		return
	}
	for _, p := range slices.Clone(s.order) {
		if seen[p.id] || p.gone {
			continue
		}
		if p.found {
			p.found, p.pid = false, 0
			s.touch(p)
		}
		// One with a path is the holder's to watch.
		if p.files != 0 && p.where() == "" {
			if p.missed++; p.missed >= sweepsMissed {
				p.tellGone = p.held
				s.lost(p)
			}
		}
	}
}

func (s *State) saw(f FoundPod) {
	p := s.pods[f.Pod]
	if f.Foreign && !f.Known && (p == nil || p.files == 0 && (!p.described.Facts || p.moved(f))) {
		if p != nil && p.found {
			p.found = false // whatever had this inode before is gone
			s.touch(p)
		}
		return
	}
	if p == nil {
		p = s.add(f.Pod)
	} else if p.gone {
		return
	} else if p.files == 0 && p.found && p.moved(f) {
		p.forgetWhatItWas()
		s.touch(p)
	}
	if !p.found || (p.pid == 0) != (f.PID == 0) {
		s.touch(p)
	}
	p.found, p.path, p.pid, p.missed = true, f.Path, f.PID, 0
	p.container = cmp.Or(f.Container, p.container)
	if f.Known && p.mayBe(f.Name) {
		s.tell(p, func(d *Description) {
			d.Name, d.Facts = f.Name, true
			if f.DNS != nil {
				d.DNS = f.DNS
			}
		})
	}
}

// moved says that a namespace is not where it was: another one may have its inode.
func (p *pod) moved(f FoundPod) bool { return p.path != f.Path || f.Path == "" && p.pid != f.PID }

// tell changes what is known of a pod, and decides again when that is news.
func (s *State) tell(p *pod, change func(*Description)) {
	before := p.described
	change(&p.described)
	if p.version == 0 || !reflect.DeepEqual(before, p.described) {
		p.version++
		s.decideAgain(p)
	}
}

// decideAgain asks what the pod should be. Only a changed answer is news.
func (s *State) decideAgain(p *pod) {
	s.touch(p)
	if s.decide == nil {
		return
	}
	d := s.decide(p.described)
	if d.same(p.decision) {
		return
	}
	if d.Selected && (d.Err == "" && p.decision.Shape != d.Shape || p.decision.Outbound != d.Outbound) {
		p.version++ // a proxy knows nothing of ranges
	}
	p.decision = d
	p.retryNow()
}

func (d Decision) same(o Decision) bool {
	return d.Selected == o.Selected && d.Why == o.Why && d.Err == o.Err && d.Hash == o.Hash && d.Shape == o.Shape &&
		d.Auto == o.Auto && d.Outbound == o.Outbound && d.LeftAlone == o.LeftAlone && d.DNS == o.DNS && d.Gate == o.Gate && d.Mark == o.Mark && slices.Equal(d.Warnings, o.Warnings)
}

// resume: another agent was at the rules meanwhile, so nothing is known of them.
func (s *State) resume() {
	if !s.retired || s.ended || s.ends {
		return
	}
	s.retired, s.saidRetired, s.taken = false, false, false
	s.takeBy = s.now + int64(s.settings.TakeLimit)
	s.agentsGen++
	s.readAllAgain()
	for _, p := range s.order {
		p.retryNow()
	}
}

func (s *State) fell(e Fell) {
	p := s.pods[e.Pod]
	if p == nil {
		return
	}
	if start, starting := p.doing.(Start); starting && start.Files == e.Files {
		p.fell = e.Err // before Done
		return
	}
	if p.served == e.Files && e.Files != 0 {
		s.serves(p, 0)
		p.failed(kindStart, s.now, e.Err)
		s.touch(p)
	}
}

func (s *State) drained(e Drained) {
	delete(s.open, e.Stop)
	if p := s.pods[e.Pod]; p != nil {
		if p.doing != nil && p.doing.At().Seq == e.Stop {
			p.drained = true // before Done
		}
		if i := slices.Index(p.drains, e.Stop); i >= 0 {
			p.drains = slices.Delete(p.drains, i, i+1)
			s.touch(p)
		}
	}
}
