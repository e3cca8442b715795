package core

// next is the difference between what a pod is and what it should be, as the one action
// to do about it now; nil when there is none, or it has to wait (State.wait).
//
//	held by the plugin   Exempt ▸ Start ▸ ReadBack ▸ Apply or ReplaceSets, where they differ
//	found running        ReadBack ▸ OpenAndHold ▸ Start ▸ Apply
//	not wanted any more  Disable ▸ (Linger) ▸ Stop with a drain ▸ Remove ▸ Release
//	namespace gone       Stop at once; Release if the holder does not know
//
// Wanted again meanwhile: from wherever it is, on with Start ▸ Apply.
func (s *State) next(p *pod) PodAction {
	if p.gone {
		return s.bury(p)
	}
	if len(p.stale) > 0 && !s.blocked(p, kindStop) {
		return Stop{Target: s.target(p, p.stale[0]), Drain: s.settings.DrainLimit, Close: true}
	}
	if s.retired {
		if p.served != 0 && !s.blocked(p, kindStop) {
			limit := s.settings.DrainLimit
			if s.alone {
				limit = s.settings.AloneLimit
			}
			return Stop{Target: s.target(p, p.served), Drain: limit}
		}
		return nil
	}
	if s.agentsGen == 0 {
		return nil // whom to exempt is not known: nothing may be written
	}
	if p.files == 0 {
		return s.unheld(p)
	}
	if p.rules.State == RulesApplied && p.rules.Gate > 0 && p.served == p.files {
		if s.now < p.beatAt {
			s.wait(p, p.beatAt)
		} else if !s.blocked(p, kindBeat) {
			return Beat{Target: s.target(p, p.files), Gate: p.rules.Gate}
		}
	}
	if a := s.serve(p); a != nil {
		return a
	}
	if s.connected && (!p.held || p.heldGate != s.gate(p) && s.leads()) && !s.leaves(p) && !s.blocked(p, kindKeep) {
		return Keep{Target: s.target(p, p.files), Description: p.described, Gate: s.gate(p), Container: p.container, Found: p.byAgent}
	}
	return s.converge(p)
}

// leaves says that the pod is about to be released.
func (s *State) leaves(p *pod) bool { return p.rules.State == RulesNone && s.mode(p) == leave }

// bury ends a pod whose namespace is no more. A holder that does not know yet is told
// while the namespace is still open here: until then no other can get its inode.
func (s *State) bury(p *pod) PodAction {
	stop := func(f Files, closing bool) PodAction {
		if s.blocked(p, kindStop) {
			return nil
		}
		return Stop{Target: s.target(p, f), Close: closing}
	}
	switch tell := p.tellGone && s.connected; {
	case len(p.stale) > 0:
		return stop(p.stale[0], true)
	case p.files == 0:
		return nil
	case !tell:
		return stop(p.files, true)
	case p.served != 0 || len(p.drains) > 0:
		return stop(p.files, false)
	case s.blocked(p, kindRelease):
		return nil
	}
	return Release{Target: s.target(p, p.files)}
}

// unheld is a pod that a sweep found and nobody holds.
func (s *State) unheld(p *pod) PodAction {
	if !p.found || !s.listed || !s.leads() {
		return nil // the holder may have it and has not said so yet
	}
	if p.rules.State == RulesUnknown || p.checkDue {
		return s.readBack(p)
	}
	mode := s.mode(p)
	switch p.rules.State {
	case RulesApplied, RulesDisabled: // its holder's state was lost
		if mode != leave {
			return s.openAndHold(p, p.rules.Ports)
		}
		// Nobody serves it, so there is nothing to drain.
		if p.rules.State == RulesApplied {
			return s.disable(p)
		}
		return s.remove(p)
	case RulesNone:
		if mode == enrol {
			return s.openAndHold(p, Ports{})
		}
	}
	return nil
}

func (s *State) readBack(p *pod) PodAction {
	if s.blocked(p, kindReadBack) {
		return nil
	}
	return ReadBack{Target: s.target(p, p.files)}
}

func (s *State) openAndHold(p *pod, ports Ports) PodAction {
	if !s.connected || s.blocked(p, kindOpen) {
		return nil
	}
	if s.now-p.readAt > int64(freshRead) {
		return s.readBack(p)
	}
	return OpenAndHold{
		Target: s.target(p, p.files), Description: p.described, Decision: s.inForce(p),
		Ports: ports, Gate: s.gate(p), Container: p.container,
	}
}

func (s *State) disable(p *pod) PodAction {
	if s.blocked(p, kindDisable) {
		return nil
	}
	return Disable{s.target(p, p.files)}
}

func (s *State) remove(p *pod) PodAction {
	if s.roster.Others > 0 || s.blocked(p, kindRemove) {
		return nil // redirected connections of an agent that drains would be reset
	}
	return Remove{s.target(p, p.files)}
}

// serve has connections to the pod's sockets accepted: where there are rules that
// redirect them, or will be. In rules that redirect, the agents come first: else what
// they dial would be redirected to themselves.
func (s *State) serve(p *pod) PodAction {
	if !s.toBeServed(p) {
		return nil
	}
	redirects := p.rules.State == RulesUnknown || p.rules.State == RulesApplied
	if redirects && !s.byMark(p) && !s.exempt(p) {
		if s.blocked(p, kindExempt) {
			return nil
		}
		return Exempt{Target: s.target(p, p.files), Agents: s.roster.Agents}
	}
	if p.served == p.files {
		if p.told != p.version && !s.blocked(p, kindFollow) {
			return Follow{Target: s.target(p, p.files), Description: p.described, Decision: s.inForce(p)}
		}
		return nil
	}
	if redirects && !s.exempt(p) {
		return nil // by mark: the rules have to be read or mended first
	}
	if !s.snapshot {
		return nil
	}
	if s.awaitsFacts(p) {
		s.wait(p, p.factsBy)
		return nil
	}
	if s.blocked(p, kindStart) {
		return nil
	}
	return Start{Target: s.target(p, p.files), Description: p.described, Decision: s.inForce(p)}
}

// converge makes the rules of a held pod what they should be.
func (s *State) converge(p *pod) PodAction {
	mode := s.mode(p)
	if s.awaitsFacts(p) {
		s.wait(p, p.factsBy)
	}
	if p.rules.State == RulesUnknown {
		return s.readBack(p)
	}
	if !s.leads() {
		return nil
	}
	switch p.rules.State {
	case RulesNone:
		if !p.committed {
			return s.awaitCommit(p)
		}
		switch {
		case mode == leave:
			return s.letGo(p)
		case p.last != nil && mode == keep: // somebody took them out
			return s.apply(p, *p.last, true)
		case mode == enrol && (p.served == p.files || p.last != nil):
			return s.apply(p, p.decision, true)
		}
	case RulesApplied:
		switch mode {
		case enrol:
			return s.correct(p)
		case leave:
			if s.willServe(p) {
				return nil // what waits in its queue is served first
			}
			return s.disable(p)
		}
		if p.applyWhole && p.last != nil && p.last.Config != nil {
			return s.apply(p, *p.last, p.rules.Running)
		}
		return s.check(p)
	case RulesDisabled:
		switch {
		case mode == enrol && p.served == p.files:
			return s.apply(p, p.decision, true)
		case mode == leave:
			return s.drain(p)
		}
	case RulesStandalone:
		return s.letGo(p)
	}
	return nil
}

// awaitCommit looks for the rules that a plugin is about to apply. When it died, the
// agent applies them, or lets go of what nobody wants.
func (s *State) awaitCommit(p *pod) PodAction {
	late := s.now >= s.commitBy(p)
	if late && (s.mode(p) == leave || s.mode(p) == enrol && p.pid != 0) {
		if p.noneAt >= s.commitBy(p) {
			p.committed = true
			if a := s.serve(p); a != nil {
				return a
			}
			return s.converge(p)
		}
		p.pollAt = s.now
	}
	if p.pollAt == 0 {
		poll := min(firstPoll<<min(p.polls, 20), lastPoll)
		if late {
			poll = idlePoll
		}
		p.polls++
		p.pollAt = s.now + int64(poll)
	}
	if s.now < p.pollAt {
		s.wait(p, p.pollAt)
		return nil
	}
	p.pollAt = 0
	p.rules.State = RulesUnknown
	if a := s.serve(p); a != nil {
		return a
	}
	return s.readBack(p)
}

// commitBy is until when a plugin may take to apply a pod's rules.
func (s *State) commitBy(p *pod) int64 { return p.heldAt + int64(s.settings.CommitWait) }

// correct brings applied rules to what the decision says.
func (s *State) correct(p *pod) PodAction {
	d, r := p.decision, p.rules
	if d.DNS && p.described.Ports.DNS == 0 {
		return s.openAndHold(p, p.described.Ports)
	}
	switch {
	case r.Hash == d.Hash && r.Gate == d.Gate && !p.applyWhole:
		return s.check(p)
	case r.Hash != "" && r.Shape == d.Shape && r.Shape != "" && r.Gate == d.Gate && !p.applyWhole:
		if s.blocked(p, kindReplace) {
			return nil
		}
		return ReplaceSets{Target: s.target(p, p.files), From: r.Hash, Decision: d}
	}
	return s.apply(p, d, r.Running)
}

func (s *State) apply(p *pod, d Decision, running bool) PodAction {
	if s.blocked(p, kindApply) {
		return nil
	}
	return Apply{Target: s.target(p, p.files), Decision: d, Running: running, Agents: s.roster.Agents}
}

func (s *State) check(p *pod) PodAction {
	if !p.checkDue || s.blocked(p, kindCheck) {
		return nil
	}
	return Check{Target: s.target(p, p.files), Hash: p.rules.Hash, Agents: s.roster.Agents}
}

// willServe says that a pod which is not served will be, as far as can be seen.
func (s *State) willServe(p *pod) bool {
	return p.served != p.files && s.snapshot && p.back[kindStart].fails == 0 && p.back[kindExempt].fails == 0 && !s.byMark(p)
}

// drain ends what a pod with disabled rules still has open.
func (s *State) drain(p *pod) PodAction {
	if p.served != 0 {
		if at := p.disabledAt + int64(s.settings.Linger); s.now < at {
			s.wait(p, at)
			return nil
		}
		if s.blocked(p, kindStop) {
			return nil
		}
		return Stop{Target: s.target(p, p.served), Drain: s.settings.DrainLimit}
	}
	if len(p.drains) > 0 {
		return nil
	}
	return s.remove(p)
}

// letGo ends holding a pod without rules of ours.
func (s *State) letGo(p *pod) PodAction {
	if p.served != 0 {
		if s.blocked(p, kindStop) {
			return nil
		}
		return Stop{Target: s.target(p, p.served), Drain: s.settings.DrainLimit}
	}
	if !s.connected || s.blocked(p, kindRelease) {
		return nil
	}
	return Release{s.target(p, p.files)}
}
