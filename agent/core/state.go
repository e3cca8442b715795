package core

import (
	"cmp"
	"container/list"
	"slices"

	"github.com/sluice-cni/sluice/holder/wire"
)

// State is the node as the core knows it. It is used by one goroutine.
type State struct {
	settings Settings
	now      int64
	pods     map[wire.Netns]*pod
	order    []*pod // by id

	decide     Decide
	generation uint64
	leaving    bool
	alone      bool // told to end while nobody had taken over
	snapshot   bool
	connected  bool
	session    uint64 // counts Connected
	roster     Roster
	agentsGen  uint64 // 0: nobody said yet whom to exempt
	seenSeq    uint64 // to be answered with Seen
	seenDue    bool
	swept      bool

	listed    bool
	takeBy    int64
	taken     bool
	unsettled int // pods that are not served yet and should be

	retired, saidRetired, ends, ended bool
	serving                           int                 // pods with served != 0
	busy                              int                 // pods with an action under way
	open                              map[uint64]struct{} // Stops whose connections have not ended

	seq     uint64
	dirty   []*pod
	timers  timers
	ring    *list.List // of pods, the one whose check is longest ago in front
	checkAt int64

	news []News
}

// New is a core that knows nothing yet.
func New(settings Settings) *State {
	return &State{
		settings: settings.withDefaults(),
		pods:     map[wire.Netns]*pod{},
		open:     map[uint64]struct{}{},
		ring:     list.New(),
	}
}

// Step takes in one event and says what to do now. now is a monotonic clock's
// nanoseconds, greater than 0; one that is less than before counts as the same.
func (s *State) Step(now int64, e Event) []Action {
	s.now = max(s.now, now)
	s.take(e)
	s.fire()
	return s.node(s.advanceAll(nil))
}

// advanceAll looks at every pod that something happened to.
func (s *State) advanceAll(out []Action) []Action {
	for len(s.dirty) > 0 {
		batch := s.dirty
		s.dirty = nil
		slices.SortFunc(batch, func(a, b *pod) int { return compare(a.id, b.id) })
		for _, p := range batch {
			p.dirty = false
			if a := s.advance(p); a != nil {
				out = append(out, a)
			}
		}
	}
	return out
}

// Next is when a Tick is wanted, if nothing else happens before.
func (s *State) Next() (int64, bool) {
	at := s.timers.next()
	for _, other := range []int64{s.checkAt, s.takeTimer()} {
		if other != 0 && (at == 0 || other < at) {
			at = other
		}
	}
	return at, at != 0
}

func compare(a, b wire.Netns) int {
	return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.Inode, b.Inode))
}

// touch has the pod looked at in this step.
func (s *State) touch(p *pod) {
	if !p.dirty {
		p.dirty = true
		s.dirty = append(s.dirty, p)
	}
}

func (s *State) touchAll() {
	for _, p := range s.order {
		s.touch(p)
	}
}

// advance looks at one pod: the next action, or when to look again.
func (s *State) advance(p *pod) PodAction {
	if s.pods[p.id] != p {
		return nil // forgotten in this step
	}
	defer s.settle(p)
	s.timers.set(p, 0)
	if p.doing != nil {
		return nil
	}
	p.blocked = false
	a := s.next(p)
	if a == nil {
		if !p.blocked { // nothing is wanted, so nothing has failed
			p.reason, p.back = "", [Kinds]backoff{}
		}
		s.forget(p)
		return nil
	}
	s.timers.set(p, 0)
	p.doing, p.doingAt, p.doingIn, p.drained, p.fell = a, s.now, s.session, false, nil
	s.busy++
	switch a.(type) {
	case Exempt, Apply:
		p.doingGen = s.agentsGen
	}
	return a
}

// wait has the pod looked at again at a time, or before.
func (s *State) wait(p *pod, at int64) {
	if p.wake == 0 || at < p.wake {
		s.timers.set(p, max(at, 1))
	}
}

// blocked says that an action of this kind failed lately and has to wait.
func (s *State) blocked(p *pod, k Kind) bool {
	until := p.back[k].until
	if until <= s.now {
		return false
	}
	s.wait(p, until)
	p.blocked = true
	return true
}

// target is the next action's.
func (s *State) target(p *pod, f Files) Target {
	s.seq++
	return Target{Pod: p.id, Seq: s.seq, Files: f, Path: p.where(), PID: p.pid}
}

func (p *pod) where() string { return cmp.Or(p.path, p.attachment.Path) }

func (s *State) add(id wire.Netns) *pod {
	p := &pod{id: id, place: -1, rules: Rules{State: RulesUnknown}}
	s.pods[id] = p
	at, _ := slices.BinarySearchFunc(s.order, id, func(p *pod, id wire.Netns) int { return compare(p.id, id) })
	s.order = slices.Insert(s.order, at, p)
	s.queueCheck(p)
	s.touch(p)
	return p
}

// forget drops a pod of which nothing is left. A new namespace may have its inode.
func (s *State) forget(p *pod) {
	if p.files != 0 || len(p.stale) > 0 || p.found && !p.gone {
		return
	}
	s.timers.set(p, 0)
	s.unqueueCheck(p)
	delete(s.pods, p.id)
	at, _ := slices.BinarySearchFunc(s.order, p.id, func(p *pod, id wire.Netns) int { return compare(p.id, id) })
	s.order = slices.Delete(s.order, at, at+1)
	if p.reborn != nil {
		s.held(*p.reborn)
	}
}

// settle counts who is still to be served before this agent may take over.
func (s *State) settle(p *pod) {
	s.notice(p)
	unsettled := s.pods[p.id] == p && !p.gone && p.files != 0 && p.served != p.files && s.toBeServed(p)
	if unsettled != p.unsettled {
		p.unsettled = unsettled
		if unsettled {
			s.unsettled++
		} else {
			s.unsettled--
		}
	}
}

// toBeServed says that connections may come to the pod's sockets, or are wanted to.
func (s *State) toBeServed(p *pod) bool {
	switch p.rules.State {
	case RulesUnknown, RulesApplied:
		return true
	case RulesNone, RulesDisabled:
		return s.mode(p) == enrol && p.committed
	}
	return false
}

func (s *State) takeTimer() int64 {
	if s.listed && !s.taken && !s.retired && s.snapshot { // without one no time will help
		return s.takeBy
	}
	return 0
}

// node adds the actions that are about no pod.
func (s *State) node(out []Action) []Action {
	if s.seenDue && !s.writesOldExemptions() {
		s.seenDue = false
		out = append(out, Seen{Seq: s.seenSeq})
	}
	if s.listed && !s.taken && !s.retired && s.snapshot && (s.unsettled == 0 || s.now >= s.takeBy) {
		s.taken = true
		out = append(out, Take{})
		if s.roster.Others > 0 {
			s.touchAll() // now it may lead
			out = s.advanceAll(out)
		}
	}
	if s.retired && !s.saidRetired && s.serving == 0 && s.busy == 0 {
		s.saidRetired = true
		out = append(out, Retired{})
	}
	if s.saidRetired && !s.ended && len(s.open) == 0 && (s.ends || !s.settings.Stays) {
		s.ended = true
		out = append(out, Ended{})
	}
	return out
}

func (s *State) writesOldExemptions() bool {
	return slices.ContainsFunc(s.order, func(p *pod) bool { return p.doingGen != 0 && p.doingGen < s.agentsGen })
}
