package core

import (
	"container/list"
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
)

// pod is a namespace: what is known of it, what it should be, what it is.
type pod struct {
	id wire.Netns

	// Known of it.
	attachment wire.Attachment
	named      bool // by ADD, or by the runtime to an agent before
	byAgent    bool // held by an agent that found it running
	described  Description
	version    uint64 // of described and decision: grows with each change
	factsBy    int64  // from when on facts are not waited for
	found      bool   // in the last sweep that could tell
	path       string
	pid        int
	container  string
	missed     int // complete sweeps that did not see it
	notes      []string

	// Should be.
	decision Decision
	// last is what its rules were made from, as long as they are not removed by
	// policy: what holds when nobody can say what should be.
	last *Decision

	// Is.
	files      Files
	stale      []Files // replaced, to be closed
	held       bool
	heldGate   time.Duration
	heldAt     int64
	committed  bool // its rules were there once, or are ours to apply
	polls      int
	pollAt     int64
	noneAt     int64 // when there were no rules, the last time somebody looked
	rules      Rules
	readAt     int64
	exempted   uint64 // generation of agents in its rules; 0 is none
	served     Files
	told       uint64   // version that its proxy has
	drains     []uint64 // Stops whose connections have not ended
	disabledAt int64
	beatAt     int64
	applyWhole bool // ReplaceSets would not do
	checkDue   bool
	drifts     int
	gone       bool
	tellGone   bool  // the holder does not know that it is gone
	reborn     *Held // of a new namespace with the same inode

	// Under way.
	doing    PodAction
	doingAt  int64
	drained  bool   // doing is a Stop, and nothing of it is open any more
	fell     error  // doing is a Start, and what it started has ended already
	again    bool   // what doing does may be undone by another agent: look after it
	doingGen uint64 // generation that doing writes; 0 when it writes none
	doingIn  uint64 // the session with the holder that it began in: what another one heard is lost
	back     [Kinds]backoff
	failing  Kind
	blocked  bool     // something wanted waits for its backoff
	reason   string   // of failing
	said     PodState // in the news
	saidWhy  string
	before   bool // the holder had it before this agent served

	dirty     bool
	wake      int64 // when to look again; 0 is never
	place     int   // in the heap of timers; -1 when not in it
	inRing    *list.Element
	unsettled bool
}

type backoff struct {
	fails int
	until int64
}

// failed notes that an action of this kind did not work.
func (p *pod) failed(k Kind, now int64, err error) {
	b := &p.back[k]
	wait := min(firstRetry<<min(b.fails, 10), lastRetry)
	b.fails++
	b.until = now + int64(wait)
	p.failing, p.reason = k, "cannot "+kindWords[k]+": "+err.Error()
}

func (p *pod) worked(k Kind) {
	p.back[k] = backoff{}
	if p.failing == k {
		p.reason = ""
	}
}

// retryNow forgets all waiting: what is wanted is another thing now.
func (p *pod) retryNow() {
	for i := range p.back {
		p.back[i].until = 0
	}
}

// mode is what is wanted of a pod.
type mode uint8

const (
	keep  mode = iota // as it is: nobody can say, or not yet
	enrol             // captured and served
	leave             // untouched
)

func (s *State) mode(p *pod) mode {
	switch {
	case s.leaving:
		return leave
	case !s.judged(p):
		return keep
	case !p.decision.Selected:
		return leave
	case p.decision.Err != "":
		return keep
	}
	return enrol
}

// judged says that what was decided of the pod is about this pod: there is a policy, and
// somebody said who the pod is.
func (s *State) judged(p *pod) bool {
	return s.decide != nil && (p.named || p.described.Facts) && !s.awaitsFacts(p)
}

// inForce is the decision that a pod is served by: where nobody can say what it should
// be, the one that its rules were made from. Rules do not know what becomes of traffic
// for which nothing is registered, and what is wrong with a pod does not change it.
func (s *State) inForce(p *pod) Decision {
	if s.mode(p) == keep && p.last != nil {
		d := *p.last
		d.Outbound = p.decision.Outbound
		return d
	}
	return p.decision
}

// awaitsFacts says that a source may still tell the pod's labels.
func (s *State) awaitsFacts(p *pod) bool {
	return !p.described.Facts && s.now < p.factsBy
}

// gate is what the rules' heartbeat should be.
func (s *State) gate(p *pod) time.Duration {
	if s.mode(p) == enrol {
		return p.decision.Gate
	}
	if p.rules.State == RulesApplied {
		return p.rules.Gate
	}
	return p.heldGate
}

// exempt says that the agents' sockets are told from the pod's by its rules.
func (s *State) exempt(p *pod) bool {
	if s.byMark(p) {
		return p.rules.State == RulesApplied && p.rules.Mark == p.described.Mark && p.rules.Mark != 0
	}
	return p.exempted == s.agentsGen && s.agentsGen != 0
}

// byMark says that the pod's rules know the agents by its mark, whoever they are. What
// rules say counts; until they are read, what was decided.
func (s *State) byMark(p *pod) bool {
	return s.settings.ByMark || p.rules.Mark != 0 || p.rules.State == RulesUnknown && p.decision.Mark != 0
}
