package core

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
)

// pod is one that is held.
type pod struct {
	wire.Holding
	bundle   Bundle
	since    int64
	refusing bool
	// broken: the sockets were lost with the holder before, and their ports are taken,
	// by an agent that has them still or by the pod.
	broken      bool
	brokenSince int64
	retry       int64
	reopening   bool
	reason      string
	warned      string // reason, in the log
	agentError  string
}

// patience is until when connections to the pod may wait for an agent.
func (s *State) patience(p *pod) int64 {
	limit := s.settings.WaitLimit
	if p.Policy == wire.PolicyBypass && p.Gate > 0 {
		limit = p.Gate // from then on the rules let new ones go direct
	}
	return max(s.away, p.since) + int64(limit)
}

func (s *State) inherit(e Inherited) {
	p := &pod{Holding: e.Holding, bundle: e.Bundle, since: s.now, broken: e.Broken, brokenSince: s.now, retry: s.now}
	s.pods[p.Netns] = p
	s.do(Save{p.Holding})
}

func (s *State) offered(e Offered) {
	if e.Kind == wire.Keep {
		s.keep(e)
		return
	}
	s.hold(e)
}

func (s *State) hold(e Offered) {
	h := e.Holding
	p := s.pods[h.Netns]
	switch {
	case e.Problem != "":
		s.counters[countRefused]++
		s.do(Drop{e.Bundle})
		s.log("warn", "hold refused", "pod", h.Pod.String(), "container", h.ContainerID, "problem", e.Problem)
		code := wire.CodeInvalid
		if e.Full {
			code = wire.CodeFull
		}
		s.answer(e.Conn, wire.Refused, &wire.Refusal{Code: code, Text: e.Problem})
		return
	case p != nil && h.Found:
		s.do(Drop{e.Bundle})
		s.answer(e.Conn, wire.Refused, &wire.Refusal{Code: wire.CodeHeld, Text: "this network namespace is held already"})
		return
	case p != nil && !p.broken && same(p.Holding, h): // the plugin did not get the answer
		s.do(Drop{e.Bundle})
		s.answer(e.Conn, wire.Held, s.heldReply())
		return
	}
	s.displace(h)
	s.adopt(h, e.Bundle, 0)
	s.counters[countHolds]++
	s.log("info", "held", "pod", h.Pod.String(), "container", h.ContainerID, "netns", h.Netns.String(), "policy", h.Policy)
	s.answer(e.Conn, wire.Held, s.heldReply())
}

// displace drops what a new holding takes the place of: the namespace's own, and that
// of an earlier namespace of the same attachment, of which there is only one.
func (s *State) displace(h wire.Holding) {
	for _, p := range s.sortedPods() {
		if p.Netns == h.Netns || h.ContainerID != "" && p.ContainerID == h.ContainerID && p.Interface == h.Interface {
			s.drop(p, "its runtime adds it anew", 0)
		}
	}
	s.tombstones.forgive(h)
}

// adopt holds a pod and tells everybody but the agent that gave it.
func (s *State) adopt(h wire.Holding, b Bundle, from Conn) {
	p := &pod{Holding: h, bundle: b, since: s.now}
	s.pods[h.Netns] = p
	s.do(Save{h})
	s.tellSuccessor(p)
	if a := s.agents[from]; a != nil {
		a.has[h.Netns] = h.Cookie
	}
	s.spread(p)
}

// spread queues the pod for every agent that is being brought pods.
func (s *State) spread(p *pod) {
	for _, a := range s.sortedAgents() {
		wants := !a.info.Retired && !a.retiring || a.resumed
		if a.bringing && wants && a.has[p.Netns] != p.Cookie {
			a.queue = append(a.queue, p.Netns)
		}
	}
}

func (s *State) heldReply() wire.HeldReply {
	return wire.HeldReply{Agent: s.there, Exemption: s.exemption}
}

// same: the same sockets, and nothing new said about them.
func same(a, b wire.Holding) bool {
	return a.Cookie == b.Cookie && a.Attachment == b.Attachment && a.Pod == b.Pod && a.Policy == b.Policy && a.Gate == b.Gate &&
		slices.Equal(a.Sockets, b.Sockets) && bytes.Equal(a.Document, b.Document)
}

// keep takes a pod back from an agent, or what it says of one anew.
func (s *State) keep(e Offered) {
	a, h := s.agents[e.Conn], e.Holding
	var p *pod
	if a != nil {
		p = s.pods[h.Netns]
	}
	switch {
	case a == nil || !a.welcomed:
		s.do(Drop{e.Bundle})
		s.refuse(e.Conn, wire.CodeInvalid, "keep: say hello first")
		s.do(Close{Conn: e.Conn, Why: "a keep without hello"})
	case e.Problem != "":
		s.counters[countRefused]++
		s.do(Drop{e.Bundle})
		s.log("warn", "keep refused", "pod", h.Pod.String(), "problem", e.Problem)
	case p != nil && !p.broken && p.Cookie != h.Cookie: // its sockets are others by now
		s.do(Drop{e.Bundle})
		s.send(e.Conn, wire.Gone, wire.Departure{Netns: h.Netns, Why: "held with other sockets by now"})
		delete(a.has, h.Netns)
		s.spread(p)
	case p != nil && !p.broken:
		s.reword(p, e, a)
	case h.Watched && e.PathGone, s.tombstones.has(h):
		s.do(Drop{e.Bundle})
		s.send(e.Conn, wire.Gone, wire.Departure{Netns: h.Netns, Why: "released while no holder held it"})
		delete(a.has, h.Netns)
	default:
		if p != nil {
			s.do(Drop{p.bundle})
		}
		s.counters[countKept]++
		s.log("info", "kept by an agent", "pod", h.Pod.String(), "netns", h.Netns.String(), "agent", a.info.PID)
		s.adopt(h, e.Bundle, e.Conn)
	}
}

// reword takes what an agent says of a pod anew, and the sockets with it where there are
// more: those for DNS, which a pod gets while it runs. A pod never gets fewer.
func (s *State) reword(p *pod, e Offered, a *agent) {
	h := e.Holding
	a.has[h.Netns] = h.Cookie
	if a.info.Retired || a.retiring || same(p.Holding, h) {
		s.do(Drop{e.Bundle})
		return
	}
	var lacking []*agent
	switch more := len(h.Sockets) - len(p.Sockets); {
	case more > 0:
		if p.refusing {
			s.do(Wait{p.bundle})
			p.refusing = false
		}
		s.do(Drop{p.bundle})
		p.bundle = e.Bundle
		lacking = slices.DeleteFunc(s.sortedAgents(), func(o *agent) bool { return o == a })
	case more < 0:
		s.do(Drop{e.Bundle})
		h.Sockets, h.Everywhere = p.Sockets, p.Everywhere
		lacking = []*agent{a}
	default:
		s.do(Drop{e.Bundle})
	}
	h.Watched = p.Watched
	p.Holding = h
	s.do(Save{h})
	s.tellSuccessor(p)
	for _, o := range lacking {
		delete(o.has, h.Netns)
	}
	s.spread(p)
}

func (s *State) release(conn Conn, r wire.Releasing) {
	for _, p := range s.sortedPods() {
		byName := r.ContainerID != "" && p.ContainerID == r.ContainerID && (r.Interface == "" || p.Interface == r.Interface)
		if byName || r.Netns != nil && p.Netns == *r.Netns {
			s.counters[countReleases]++
			s.drop(p, "released", conn)
		}
	}
	s.tombstones.add(r)
	s.released(conn)
}

// released answers a plugin once the agents have been told: who was answered does not ask
// the next holder again. An agent is answered at once: its queue has pods to bring.
func (s *State) released(conn Conn) {
	if s.agents[conn] != nil {
		s.send(conn, wire.Released, nil)
		return
	}
	var told []Conn
	for _, a := range s.sortedAgents() {
		told = append(told, a.conn)
	}
	s.do(Send{Conn: conn, Kind: wire.Released, After: told})
	s.do(Close{Conn: conn})
}

// drop lets a pod go, and tells everybody but the agent that asked for it.
func (s *State) drop(p *pod, why string, asked Conn) {
	delete(s.pods, p.Netns)
	s.log("info", "gone", "pod", p.Pod.String(), "container", p.ContainerID, "netns", p.Netns.String(), "why", why)
	gone := wire.Departure{Netns: p.Netns, Why: why}
	for _, a := range s.sortedAgents() {
		_, has := a.has[p.Netns]
		_, lacks := a.again[p.Netns] // but may have what it was before
		if has || lacks {
			delete(a.has, p.Netns)
			delete(a.again, p.Netns)
			if a.conn != asked {
				s.send(a.conn, wire.Gone, gone)
			}
		}
	}
	if s.successor != 0 {
		s.send(s.successor, wire.Gone, gone)
	}
	if p.refusing {
		s.do(Wait{p.bundle})
	}
	s.do(Forget{p.Netns})
	s.do(Drop{p.bundle})
	s.tombstones.add(wire.Releasing{Netns: &p.Netns})
}

// mend tries to open a broken pod's sockets again. An agent that has them makes that
// fail, and keeps them; when one is there that has not, the pod itself took the port,
// and another has to do.
func (s *State) mend(p *pod) {
	if p.reopening || s.now < p.retry {
		return
	}
	p.reopening = true
	stolen := s.there && s.now-p.brokenSince >= int64(stolenAfter)
	s.do(Reopen{Holding: p.Holding, Bundle: p.bundle, AnyPort: stolen})
}

// mayBeKept says that an agent may still give back what was lost with the holder before.
func (s *State) mayBeKept() bool {
	return len(s.ghosts) > 0 || slices.ContainsFunc(s.sortedAgents(), func(a *agent) bool { return !a.bringing && !a.retiring && s.breathes(a) })
}

func (s *State) reopened(e Reopened) {
	p := s.pods[e.Netns]
	if p == nil || !p.broken {
		if e.Bundle != 0 {
			s.do(Drop{e.Bundle})
		}
		return
	}
	p.reopening, p.retry = false, s.now+int64(reopenEvery)
	if e.Problem != "" {
		p.reason = e.Problem
		switch {
		case s.mayBeKept():
			if !s.saidLost {
				s.saidLost = true
				s.log("info", "sockets are with agents that were there before, if these live: they give them back", "pod", p.Pod.String(), "problem", e.Problem)
			}
		case p.warned != e.Problem:
			p.warned = e.Problem
			s.log("warn", "sockets are lost and cannot be opened again yet", "pod", p.Pod.String(), "netns", p.Netns.String(), "problem", e.Problem)
		}
		return
	}
	s.counters[countReopened]++
	if len(s.ghosts) > 0 { // they would have the port
		s.noGhosts()
	}
	s.do(Drop{p.bundle})
	h := p.Holding
	h.Cookie, h.Sockets = e.Cookie, e.Sockets
	s.log("info", "listening again", "pod", p.Pod.String(), "netns", p.Netns.String(), "after", time.Duration(s.now-p.brokenSince).String())
	s.adopt(h, e.Bundle, 0)
}

// tombstones remember what was released, so that an agent that did not hear of it does
// not bring it back to life.
type tombstones struct {
	known map[string]bool
	order []string
}

func (t *tombstones) add(r wire.Releasing) {
	if r.Netns != nil {
		t.bury(r.Netns.String())
	}
	if r.ContainerID != "" {
		t.bury(attachment(r.ContainerID, r.Interface))
	}
}

func (t *tombstones) bury(name string) {
	if t.known[name] {
		return
	}
	if t.known == nil {
		t.known = map[string]bool{}
	}
	t.known[name] = true
	t.order = append(t.order, name)
	if len(t.order) > maxTombstones {
		delete(t.known, t.order[0])
		t.order = t.order[1:]
	}
}

func (t *tombstones) has(h wire.Holding) bool {
	return t.known[h.Netns.String()] ||
		h.ContainerID != "" && (t.known[attachment(h.ContainerID, h.Interface)] || t.known[attachment(h.ContainerID, "")])
}

// forgive: the pod is there again. A name stays in order, and goes with its turn.
func (t *tombstones) forgive(h wire.Holding) {
	delete(t.known, h.Netns.String())
	delete(t.known, attachment(h.ContainerID, h.Interface))
	delete(t.known, attachment(h.ContainerID, ""))
}

func attachment(container, ifname string) string { return fmt.Sprintf("%s/%s", container, ifname) }
