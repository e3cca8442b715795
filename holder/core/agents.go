package core

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
)

// agent is one that said hello.
type agent struct {
	conn  Conn
	hello wire.HelloRequest
	info  wire.AgentInfo
	// heard is when its core last turned, taken when it last said Take.
	heard, taken int64

	// Before the welcome: whose sight of which roster it waits for, and until when.
	welcomed  bool
	unseen    map[Conn]uint64
	welcomeBy int64

	// Afterwards: what it has, what it is yet to be brought, what it has not answered.
	bringing bool
	has      map[wire.Netns]uint64
	queue    []wire.Netns
	flying   map[wire.Netns]int
	again    map[wire.Netns]again // what it could not take
	ended    bool
	ready    bool

	// retiring: it was told to, since another took or comes before it, and can be asked
	// to go on. resumed: it was.
	retiring, resumed bool
	// takeBy is until when it is expected to say Take, once it is ready or resumed.
	takeBy int64
}

func (s *State) greet(conn Conn, h wire.HelloRequest, who wire.Process) {
	if s.agents[conn] != nil {
		s.refuse(conn, wire.CodeInvalid, "hello: said already")
		s.do(Close{Conn: conn, Why: "a second hello"})
		return
	}
	if wire.Spoken.Common(h.Versions) == 0 {
		s.counters[countRefused]++
		s.refuse(conn, wire.CodeUnsupported, fmt.Sprintf("hello: this holder (%s) speaks versions %d to %d of the protocol, the agent %d to %d; upgrade the holder first",
			s.settings.Build, wire.MinVersion, wire.Version, h.Versions.Min, h.Versions.Max))
		s.do(Close{Conn: conn, Why: "no common version"})
		return
	}
	a := &agent{conn: conn, hello: h, heard: s.now, taken: s.now - int64(h.ServingFor),
		info:   wire.AgentInfo{PID: h.PID, Build: h.Build, Agents: h.Agents, Serving: h.Serving && !h.Retired, Retired: h.Retired, Process: who},
		unseen: map[Conn]uint64{}, welcomeBy: s.now + int64(seenLimit), has: map[wire.Netns]uint64{}, flying: map[wire.Netns]int{}, again: map[wire.Netns]again{}}
	for _, o := range s.sortedAgents() {
		if sameAgent(o.info, a.info) { // its earlier session's end is yet to be noticed
			delete(s.agents, o.conn)
			s.do(Close{Conn: o.conn})
		}
	}
	s.agents[conn] = a
	a.retiring = h.Retired && h.StandsBy
	s.meet(a)
	s.counters[countHellos]++
	s.log("info", "agent came", "pid", h.PID, "build", h.Build, "serving", a.info.Serving, "retired", a.info.Retired, "pods", len(h.Have))
	if !h.Retired && h.Exemption != "" {
		s.exemption = h.Exemption
	}
	s.ghosts = slices.DeleteFunc(s.ghosts, func(g wire.AgentInfo) bool { return sameAgent(g, a.info) })
	for _, other := range s.present(conn) {
		if s.breathes(other) {
			a.unseen[other.conn] = s.rosters
		}
	}
}

// present tells every welcomed agent but the one who is there now, and how.
func (s *State) present(but Conn) (told []*agent) {
	for _, a := range s.sortedAgents() {
		if a.conn != but && a.welcomed {
			told = append(told, a)
		}
	}
	if len(told) > 0 {
		s.rosters++
	}
	for _, a := range told {
		s.send(a.conn, wire.Present, wire.Roster{Seq: s.rosters, Others: s.others(a.conn)})
	}
	return told
}

func (s *State) others(but Conn) []wire.AgentInfo {
	return append(s.connected(but), s.ghosts...)
}

func (s *State) connected(but Conn) []wire.AgentInfo {
	infos := []wire.AgentInfo{}
	for _, a := range s.sortedAgents() {
		if a.conn != but {
			infos = append(infos, a.info)
		}
	}
	return infos
}

// Absent are the agents that were there when the holder before ended, and have not come
// back yet.
func (s *State) Absent() []wire.AgentInfo { return slices.Clone(s.ghosts) }

// sameAgent knows an agent again by its cgroup, of which the number is never used
// twice; by its process where it has none.
func sameAgent(a, b wire.AgentInfo) bool {
	if len(a.Agents.IDs) > 0 {
		return slices.Equal(a.Agents.IDs, b.Agents.IDs)
	}
	return a.PID != 0 && a.PID == b.PID
}

// layGhosts stops waiting for agents that did not come back.
func (s *State) layGhosts() {
	if len(s.ghosts) > 0 && s.now >= s.ghostsUntil {
		s.noGhosts()
	}
}

// died: an agent that was there before will not come back.
func (s *State) died(who wire.Process) {
	before := len(s.ghosts)
	s.ghosts = slices.DeleteFunc(s.ghosts, func(g wire.AgentInfo) bool { return g.Process == who })
	if len(s.ghosts) < before {
		s.log("info", "an agent that was there before is dead", "pid", who.PID)
		s.present(0)
	}
}

func (s *State) noGhosts() {
	s.log("info", "agents that were there before did not come back", "agents", len(s.ghosts))
	s.ghosts = nil
	s.present(0)
}

func (s *State) seen(by Conn, seq uint64) {
	for _, a := range s.agents {
		if wanted, waits := a.unseen[by]; waits && seq >= wanted {
			delete(a.unseen, by)
		}
	}
}

// admit welcomes an agent of which the others know.
func (s *State) admit(a *agent) {
	// One that comes back is no news to those that are yet to come back.
	isNew := !a.hello.Retired && !a.hello.Serving && len(a.hello.Have) == 0
	waits := len(a.unseen) > 0 || isNew && len(s.ghosts) > 0
	if a.welcomed || waits && s.now < a.welcomeBy {
		return
	}
	if len(a.unseen) > 0 {
		s.log("warn", "agent welcomed though others have not answered that they saw it", "pid", a.info.PID, "others", len(a.unseen))
	}
	a.welcomed, a.unseen = true, nil
	want, gone := s.compare(a)
	s.send(a.conn, wire.Welcome, wire.WelcomeReply{Version: wire.Spoken.Common(a.hello.Versions), PID: s.settings.PID, Build: s.settings.Build,
		Others: s.others(a.conn), Want: want})
	a.hello.Have = nil
	for _, n := range gone {
		s.send(a.conn, wire.Gone, wire.Departure{Netns: n, Why: "released or replaced while the agent was not connected"})
	}
	if s.standsBy(a) {
		s.log("info", "agent stands by: its pod is older than that of the one that serves", "pid", a.info.PID, "instance", a.hello.Instance)
		a.retiring = true
		s.send(a.conn, wire.Retire, nil)
	} else if len(want) == 0 {
		s.kept(a)
	}
	if a.info.Serving && s.retireOthers(a) {
		s.present(0)
	}
}

// compare goes through what an agent says it has: what the holder lacks it wants, as
// long as that was not lost on purpose.
func (s *State) compare(a *agent) (want, gone []wire.Netns) {
	for _, have := range a.hello.Have {
		p := s.pods[have.Netns]
		switch {
		case p != nil && !p.broken && p.Cookie == have.Cookie:
			a.has[have.Netns] = have.Cookie
		case p != nil && !p.broken:
			gone = append(gone, have.Netns)
		case p != nil, s.fresh && !s.tombstones.known[have.Netns.String()]:
			want = append(want, have.Netns)
		default:
			gone = append(gone, have.Netns)
		}
	}
	slices.SortFunc(want, compare)
	slices.SortFunc(gone, compare)
	return want, gone
}

// kept: the agent has given back what was wanted, and is brought what it lacks.
func (s *State) kept(a *agent) {
	if a.bringing {
		return
	}
	a.bringing = true
	s.catchUp(a)
}

// catchUp queues whatever the agent lacks.
func (s *State) catchUp(a *agent) {
	a.queue = nil
	if (a.info.Retired || a.retiring) && !a.resumed {
		return
	}
	for _, p := range s.sortedPods() {
		if cookie, has := a.has[p.Netns]; !has || cookie != p.Cookie {
			a.queue = append(a.queue, p.Netns)
		}
	}
}

// bring sends what fits into the window.
func (s *State) bring(a *agent) {
	if !a.bringing {
		return
	}
	for len(a.queue) > 0 && len(a.flying) < window {
		n := a.queue[0]
		a.queue = a.queue[1:]
		p := s.pods[n]
		if p == nil || p.broken || a.has[n] == p.Cookie && p.Cookie != 0 {
			continue // gone by now, brought when it is mended, or queued twice
		}
		a.has[n] = p.Cookie
		a.flying[n]++
		s.do(Send{Conn: a.conn, Kind: wire.Pod, Payload: p.Holding, Bundle: p.bundle})
	}
	if len(a.queue) > 0 {
		return
	}
	if !a.ended {
		a.ended = true
		s.send(a.conn, wire.End, nil)
	}
	if len(a.flying) == 0 && !a.ready {
		a.ready, a.takeBy = true, s.now+int64(takeLimit)
		s.log("info", "agent has every pod", "pid", a.info.PID, "pods", len(a.has))
	}
}

func (s *State) acknowledged(a *agent, k wire.Acknowledgement) {
	if a.flying[k.Netns]--; a.flying[k.Netns] <= 0 {
		delete(a.flying, k.Netns)
	}
	p := s.pods[k.Netns]
	if p == nil {
		delete(a.again, k.Netns)
		return
	}
	p.agentError = k.Error
	if k.Error == "" {
		delete(a.again, k.Netns)
		return
	}
	delete(a.has, k.Netns)
	fails := a.again[k.Netns].fails
	a.again[k.Netns] = again{fails: fails + 1, at: s.now + int64(min(firstAgain<<min(fails, 10), lastAgain))}
}

// again is when an agent is brought a pod anew that it could not take: it may have had
// no descriptors left, just then.
type again struct {
	at    int64 // 0: it is on its way
	fails int
}

const (
	firstAgain = time.Second
	lastAgain  = 30 * time.Second
)

// bringAgain queues what an agent could not take before.
func (s *State) bringAgain(a *agent) {
	for _, n := range slices.SortedFunc(maps.Keys(a.again), compare) {
		switch one := a.again[n]; {
		case s.pods[n] == nil, a.info.Retired, a.retiring && !a.resumed:
			delete(a.again, n)
		case one.at != 0 && one.at <= s.now:
			a.again[n] = again{fails: one.fails}
			a.queue = append(a.queue, n)
		}
	}
}

// take: the agent serves every pod it was brought.
func (s *State) take(a *agent) {
	back := a.retiring || a.info.Retired
	a.info.Serving, a.info.Retired, a.retiring, a.resumed, a.taken = true, false, false, false, s.now
	s.counters[countTakes]++
	s.log("info", "agent serves", "pid", a.info.PID)
	if back {
		a.bringing = true
		s.catchUp(a)
	}
	s.retireOthers(a)
	if len(s.agents) > 1 {
		s.present(0)
	}
}

// retireOthers tells those that served before to stop. Of two that say they serve,
// which happens when the holder that knew better is gone, the later one goes on.
func (s *State) retireOthers(a *agent) (any bool) {
	for _, o := range s.sortedAgents() {
		if o == a || !o.welcomed || !o.info.Serving || o.info.Retired || o.retiring {
			continue
		}
		older := o
		if s.precedes(a, o) || !s.precedes(o, a) && o.taken > a.taken {
			older = a
		}
		older.retiring, older.resumed, older.info.Serving = true, false, false
		older.queue = nil
		s.send(older.conn, wire.Retire, nil)
		any = true
		if older == a {
			break
		}
	}
	return any
}

func (s *State) retired(a *agent, r wire.Retirement) {
	a.info.Retired, a.info.Serving = true, false
	if r.Ends {
		a.retiring, a.resumed = false, false
	}
	a.queue = nil
	s.log("info", "agent drains", "pid", a.info.PID)
	s.present(a.conn)
}

func (s *State) agentLeft(a *agent) {
	delete(s.agents, a.conn)
	for _, o := range s.agents {
		delete(o.unseen, a.conn)
	}
	s.log("info", "agent left", "pid", a.info.PID, "served", a.info.Serving, "retired", a.info.Retired)
	s.present(a.conn)
}

func (s *State) breathes(a *agent) bool { return s.now-a.heard < int64(wire.AliveLimit) }

// usable: connections may wait for this one.
func (s *State) usable(a *agent) bool {
	return a.ready && !a.info.Retired && !a.retiring && s.breathes(a)
}

// servedElsewhere says that an agent serves which is on its way back, after a succession
// or a crash of the holder.
func (s *State) servedElsewhere() bool {
	return slices.ContainsFunc(s.ghosts, func(g wire.AgentInfo) bool { return g.Serving }) ||
		slices.ContainsFunc(s.sortedAgents(), func(a *agent) bool { return a.info.Serving && !a.retiring && !a.ready && s.breathes(a) })
}

// serves, or is about to.
func (s *State) serves(a *agent) bool {
	return s.usable(a) && (a.info.Serving || s.now < a.takeBy)
}

// lookForAgents notices that agents came or went. When none serves, nor is about to, one
// that was told to retire and has not ended yet is asked to go on: of several the one of
// the youngest pod, and when that does not take either, the next.
func (s *State) lookForAgents() {
	agents := s.sortedAgents()
	before := s.there
	s.there = slices.ContainsFunc(agents, s.usable)
	switch {
	case before && !s.there:
		s.away = s.now
		s.log("warn", "no agent: connections wait", "pods", len(s.pods), "limit", s.settings.WaitLimit.String())
	case !before && s.there:
		s.log("info", "an agent is there", "pods", len(s.pods))
	}
	if slices.ContainsFunc(agents, s.serves) || s.servedElsewhere() {
		return
	}
	slices.SortStableFunc(agents, func(a, b *agent) int { return cmp.Compare(s.rank(a), s.rank(b)) })
	for _, a := range slices.Backward(agents) {
		switch {
		case !a.retiring || !a.welcomed || !s.breathes(a):
		case !a.resumed:
			a.resumed, a.bringing, a.takeBy = true, true, s.now+int64(takeLimit)
			s.catchUp(a)
			s.bring(a)
			s.send(a.conn, wire.Resume, nil)
			return
		case s.now < a.takeBy:
			return
		}
	}
}

// spare says that an agent could be asked to go on.
func (s *State) spare() bool {
	return slices.ContainsFunc(s.sortedAgents(), func(a *agent) bool { return a.retiring && !a.resumed && a.welcomed && s.breathes(a) })
}
