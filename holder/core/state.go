// Package core is the holder's mind: events in, actions out. It has no clock, no
// socket and no file, so that text files can drive it through every crash
// (testdata/*.txt).
//
//	agent's session    Hello ▸ others have Seen it ▸ Welcome ▸ Keeps ▸ Pods, End ▸ Acks ▸ ready
//	                   ▸ Take: serves ▸ Retire: another took ▸ Retired: drains ▸ closed
//	a pod              held ▸ (no agent for its limit: refusing ▸ an agent is ready: held) ▸ gone
//
// Step is the only way in. Its order is the caller's: one event at a time.
package core

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
)

// DefaultWaitLimit is how long connections wait for an agent before they are reset.
const DefaultWaitLimit = 30 * time.Second

const (
	// window is how many pods may be on their way to an agent.
	window = 32
	// seenLimit is how long a new agent waits for the others to have seen it.
	seenLimit = 2 * time.Second
	// reopenEvery is how often a port that was taken is tried again.
	reopenEvery = time.Second
	// stolenAfter is when, with an agent there that does not have the pod, a port that
	// is still taken is the pod's own doing.
	stolenAfter = 10 * time.Second
	// tookLimit is how long a successor may take.
	tookLimit = 30 * time.Second
	// takeLimit is how long an agent that has every pod, or was asked to go on, is waited
	// for before another is asked. It takes after as long at the latest
	// (agent/core.Settings.TakeLimit) unless it lacks what no time brings.
	takeLimit = 30 * time.Second
	// maxTombstones bounds what is remembered of pods that were released.
	maxTombstones = 4096
)

// Settings do not change while a holder lives.
type Settings struct {
	// WaitLimit is DefaultWaitLimit when zero.
	WaitLimit time.Duration
	Build     string
	PID       int
	// Holder is who this one is over its restarts, its pod's UID; may be empty.
	Holder string
}

// State is what a holder knows. The zero value is of no use; see New.
type State struct {
	settings Settings
	now      int64
	out      []Action

	pods      map[wire.Netns]*pod
	agents    map[Conn]*agent
	successor Conn
	// tookBy is until when the successor has to say Took.
	tookBy     int64
	left       bool
	exemption  string
	fresh      bool
	tombstones tombstones
	rosters    uint64
	// ghosts are agents that were there when the holder before ended, and have not come
	// again yet: they may serve, and count as there until ghostsUntil.
	ghosts      []wire.AgentInfo
	ghostsUntil int64
	remembered  Memory
	instances   []string // see Memory
	holders     []string // see Memory
	saidLost    bool     // that sockets are lost which an agent may give back

	// there: an agent can be expected to accept. away is since when none can.
	there bool
	away  int64

	counters map[string]uint64
}

// New is a holder that holds nothing yet.
func New(s Settings) *State {
	s.WaitLimit = cmp.Or(s.WaitLimit, DefaultWaitLimit)
	counters := map[string]uint64{}
	for _, name := range counterNames {
		counters[name] = 0
	}
	return &State{settings: s, pods: map[wire.Netns]*pod{}, agents: map[Conn]*agent{}, counters: counters}
}

// Step takes one event at a time now, in nanoseconds of a clock that only goes
// forward, and says what is to be done.
func (s *State) Step(now int64, e Event) []Action {
	if s.left {
		return nil // what comes now is the successor's
	}
	s.now, s.out = now, nil
	switch e := e.(type) {
	case Began:
		s.fresh, s.exemption, s.away = e.Fresh, e.Exemption, now
		s.ghosts, s.ghostsUntil = e.Agents, now+int64(wire.AliveLimit)
		s.instances, s.holders = slices.Clone(e.Instances), slices.Clone(e.Holders)
		s.remembered = s.memory()
		s.holders = enlist(s.holders, s.settings.Holder)
	case Inherited:
		s.inherit(e)
	case Frame:
		s.frame(e)
	case Offered:
		s.offered(e)
	case Closed:
		s.closed(e.Conn)
	case Left:
		if p := s.pods[e.Netns]; p != nil {
			s.drop(p, e.Why, 0)
		}
	case Reopened:
		s.reopened(e)
	case Emptied:
		s.emptied()
	case Died:
		s.died(e.Process)
	case Tick:
	}
	if !s.left {
		s.settle()
	}
	return s.out
}

// Next says when a Tick is wanted, if at all.
func (s *State) Next() (at int64, wanted bool) {
	sooner := func(t int64) {
		if !wanted || t < at {
			at, wanted = t, true
		}
	}
	if len(s.ghosts) > 0 {
		sooner(s.ghostsUntil)
	}
	if s.successor != 0 {
		sooner(s.tookBy)
	}
	spare := s.spare()
	for _, a := range s.agents {
		if spare && s.now < a.takeBy && (s.usable(a) && !a.info.Serving || a.resumed) {
			sooner(a.takeBy)
		}
		if !a.welcomed {
			sooner(a.welcomeBy)
		}
		if s.breathes(a) {
			sooner(a.heard + int64(wire.AliveLimit))
		}
		for _, one := range a.again {
			if one.at != 0 {
				sooner(one.at)
			}
		}
	}
	for _, p := range s.pods {
		switch {
		case p.broken && !p.reopening:
			sooner(p.retry)
		case !p.broken && !s.there && !p.refusing:
			sooner(s.patience(p))
		}
	}
	return at, wanted
}

// settle draws the conclusions of time and of what an event changed.
func (s *State) settle() {
	if s.successor != 0 && s.now >= s.tookBy {
		// Refused, since the end of the connection alone means that this one ends.
		s.refuse(s.successor, wire.CodeBusy, "succeed: not taken over in time; this holder goes on")
		s.do(Close{Conn: s.successor, Why: "a new holder that did not take over in time"})
		s.closed(s.successor)
	}
	s.layGhosts()
	for _, a := range s.sortedAgents() {
		s.admit(a)
		s.bringAgain(a)
		s.bring(a)
	}
	s.lookForAgents()
	for _, p := range s.sortedPods() {
		switch {
		case p.broken:
			s.mend(p)
		case s.there && p.refusing:
			p.refusing = false
			s.do(Wait{p.bundle})
		case !s.there && !p.refusing && s.now >= s.patience(p):
			p.refusing = true
			s.counters[countRefusing]++
			s.do(Refuse{p.bundle})
		}
	}
	if now := s.memory(); !reflect.DeepEqual(now, s.remembered) {
		s.remembered = now
		s.do(Remember{now})
	}
}

func (s *State) memory() Memory {
	return Memory{Exemption: s.exemption, Agents: s.others(0), Instances: slices.Clone(s.instances), Holders: s.holders}
}

func (s *State) do(a Action) { s.out = append(s.out, a) }

func (s *State) log(level, text string, attributes ...any) {
	s.do(Log{Level: level, Text: text, Attributes: attributes})
}

func (s *State) send(to Conn, k wire.Kind, payload any) {
	s.do(Send{Conn: to, Kind: k, Payload: payload})
}

func (s *State) refuse(to Conn, code, text string) {
	s.send(to, wire.Refused, &wire.Refusal{Code: code, Text: text})
}

// answer ends a call: a connection that is no agent's asks one thing.
func (s *State) answer(to Conn, k wire.Kind, payload any) {
	s.send(to, k, payload)
	if s.agents[to] == nil {
		s.do(Close{Conn: to})
	}
}

func (s *State) sortedPods() []*pod {
	return slices.SortedFunc(maps.Values(s.pods), func(a, b *pod) int { return compare(a.Netns, b.Netns) })
}

func (s *State) sortedAgents() []*agent {
	return slices.SortedFunc(maps.Values(s.agents), func(a, b *agent) int { return cmp.Compare(a.conn, b.conn) })
}

func compare(a, b wire.Netns) int {
	return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.Inode, b.Inode))
}
