package core

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
)

// Whatever happens in whatever order, holders that die and holders that are succeeded
// among it: descriptors are dropped once and not used afterwards, a hold is answered
// once and saved before, an agent is brought what there is and no more than it can take,
// only one serves, and in the end all have the same.
func TestWhateverHappensNothingIsLostOrLeft(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		w := newWorld(t, seed)
		for range 120 {
			w.happen()
			if t.Failed() {
				t.Fatalf("seed %d:\n%s", seed, w.story())
			}
		}
		w.calmDown()
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, w.story())
		}
	}
}

// world is the edge as a model.
type world struct {
	t     *testing.T
	r     *rand.Rand
	s     *State
	now   int64
	lines []string

	bundle  Bundle
	conn    Conn
	alive   map[Bundle]bool
	refused map[Bundle]bool
	peers   map[Conn]*model
	files   map[wire.Netns]wire.Holding
	memory  Memory
	lost    []*model            // agents without a session
	saved   map[wire.Netns]bool // in this step
	reopens []Reopen
}

// model is a peer: a plugin until it says hello.
type model struct {
	agent, serving, retire, retired, ends bool
	pid                                   int
	instance                              string
	has                                   map[wire.Netns]uint64
	unacked                               []wire.Netns
	unseen                                []uint64
	welcomed, kept                        bool
	want                                  []wire.Netns
	answers                               int
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 7)), s: New(Settings{}), alive: map[Bundle]bool{}, refused: map[Bundle]bool{},
		peers: map[Conn]*model{}, files: map[wire.Netns]wire.Holding{}}
	w.step(Began{Fresh: w.r.IntN(2) == 0})
	for n := range w.r.IntN(3) {
		w.step(Inherited{Holding: w.holding(uint64(n)), Bundle: w.newBundle(), Broken: w.r.IntN(2) == 0})
	}
	return w
}

func (w *world) story() (all string) {
	for _, l := range w.lines {
		all += l + "\n"
	}
	return all
}

func (w *world) newBundle() Bundle {
	w.bundle++
	w.alive[w.bundle] = true
	return w.bundle
}

// holding is one of a few pods, with sockets that nobody had before, mostly.
func (w *world) holding(inode uint64) wire.Holding {
	h := wire.Holding{Netns: wire.Netns{Device: 4, Inode: inode}, Policy: wire.PolicyBlock, Cookie: uint64(w.bundle) + 1000,
		Attachment: wire.Attachment{ContainerID: fmt.Sprintf("c%d", inode/2), Interface: "eth0"}}
	if inode%3 == 0 {
		h.Policy, h.Gate = wire.PolicyBypass, 10*time.Second
	}
	return h
}

func (w *world) step(e Event) {
	if f, ok := e.(Frame); ok {
		w.lines = append(w.lines, fmt.Sprintf("%s frame %d %s %s", time.Duration(w.now), f.Conn, f.Kind, f.Payload))
	} else {
		w.lines = append(w.lines, fmt.Sprintf("%s %T %+v", time.Duration(w.now), e, e))
	}
	w.saved = map[wire.Netns]bool{}
	for _, a := range w.s.Step(w.now, e) {
		w.lines = append(w.lines, fmt.Sprintf("    %T %+v", a, a))
		w.do(a)
	}
	serving := 0
	for _, a := range w.s.agents {
		if a.welcomed && a.info.Serving && !a.retiring {
			serving++
		}
	}
	if serving > 1 {
		w.t.Errorf("%d agents serve", serving)
	}
}

func (w *world) do(a Action) {
	switch a := a.(type) {
	case Send:
		w.sent(a)
	case Close:
		delete(w.peers, a.Conn)
	case Save:
		w.files[a.Holding.Netns], w.saved[a.Holding.Netns] = a.Holding, true
	case Remember:
		w.memory = a.Memory
	case Forget:
		delete(w.files, a.Netns)
	case Drop:
		if !w.alive[a.Bundle] || w.refused[a.Bundle] {
			w.t.Errorf("bundle %d is dropped (alive %t, refused %t)", a.Bundle, w.alive[a.Bundle], w.refused[a.Bundle])
		}
		delete(w.alive, a.Bundle)
	case Refuse:
		if !w.alive[a.Bundle] || w.refused[a.Bundle] {
			w.t.Errorf("bundle %d is refused (alive %t, refused %t)", a.Bundle, w.alive[a.Bundle], w.refused[a.Bundle])
		}
		w.refused[a.Bundle] = true
	case Wait:
		if !w.refused[a.Bundle] {
			w.t.Errorf("bundle %d waits and was not refused", a.Bundle)
		}
		delete(w.refused, a.Bundle)
	case Reopen:
		w.reopens = append(w.reopens, a)
	}
}

func (w *world) sent(a Send) {
	if a.Bundle != 0 && !w.alive[a.Bundle] {
		w.t.Errorf("bundle %d is sent and was dropped", a.Bundle)
	}
	m := w.peers[a.Conn]
	if m == nil {
		return
	}
	switch a.Kind {
	case wire.Held, wire.Released:
		m.answers++
	case wire.Welcome:
		m.welcomed, m.want = true, a.Payload.(wire.WelcomeReply).Want
		m.kept = len(m.want) == 0
	case wire.Pod:
		if !m.agent { // a successor's
			return
		}
		if !m.welcomed {
			w.t.Errorf("a pod comes before the welcome")
		}
		h := a.Payload.(wire.Holding)
		m.has[h.Netns] = h.Cookie
		if m.unacked = append(m.unacked, h.Netns); len(m.unacked) > window {
			w.t.Errorf("%d pods are under way", len(m.unacked))
		}
	case wire.Gone:
		if m.agent {
			if _, has := m.has[a.Payload.(wire.Departure).Netns]; !has {
				w.t.Errorf("gone is what the agent does not have: %v", a.Payload)
			}
			delete(m.has, a.Payload.(wire.Departure).Netns)
		}
	case wire.Present:
		m.unseen = append(m.unseen, a.Payload.(wire.Roster).Seq)
	case wire.Retire:
		m.retire, m.serving = true, false
	case wire.Resume:
		if !m.retire || m.ends {
			w.t.Error("resume without retire")
		}
	}
}

func (w *world) happen() {
	if w.r.IntN(3) == 0 {
		w.now += int64(w.r.IntN(15)) * int64(time.Second)
		w.tick()
	}
	switch {
	case w.r.IntN(40) == 0:
		w.nextHolder(w.r.IntN(2) == 0)
		return
	case len(w.reopens) > 0 && w.r.IntN(2) == 0:
		w.reopened()
		return
	case len(w.lost) > 0 && w.r.IntN(3) == 0:
		w.comeBack()
		return
	}
	switch conn, m := w.anyPeer(); {
	case m == nil || w.r.IntN(3) == 0:
		w.newPeer()
	case w.r.IntN(12) == 0:
		delete(w.peers, conn)
		w.step(Closed{conn})
	case m.agent:
		w.agentSays(conn, m)
	}
}

func (w *world) tick() {
	if at, wanted := w.s.Next(); wanted && at <= w.now {
		w.step(Tick{})
		if next, wanted := w.s.Next(); wanted && next <= w.now {
			w.t.Errorf("a tick at %d changes nothing: the next is wanted at %d", w.now, next)
		}
	}
}

func (w *world) reopened() {
	r := w.reopens[0]
	w.reopens = w.reopens[1:]
	e := Reopened{Netns: r.Holding.Netns, Problem: "taken"}
	if !w.somebodyHas(r.Holding.Netns) && w.r.IntN(2) == 0 {
		e.Problem, e.Bundle = "", w.newBundle()
		e.Cookie = uint64(e.Bundle) + 5000
	}
	w.step(e)
}

// somebodyHas: then the port is taken.
func (w *world) somebodyHas(n wire.Netns) bool {
	for _, m := range w.agents() {
		if _, has := m.has[n]; has {
			return true
		}
	}
	return false
}

func (w *world) agents() []*model {
	all := slices.Clone(w.lost)
	for c := Conn(1); c <= w.conn; c++ {
		if m := w.peers[c]; m != nil && m.agent {
			all = append(all, m)
		}
	}
	return all
}

// nextHolder is a holder after one that died, or that it succeeded.
func (w *world) nextHolder(died bool) {
	w.lines = append(w.lines, fmt.Sprintf("%s another holder; the one before died: %t", time.Duration(w.now), died))
	began := Began{Fresh: died || w.s.fresh, Memory: w.memory}
	var inherited []Inherited
	for _, p := range w.s.sortedPods() {
		inherited = append(inherited, Inherited{Holding: w.files[p.Netns], Bundle: w.newBundle(), Broken: died || p.broken})
		if !died {
			inherited[len(inherited)-1].Holding = p.Holding
		}
	}
	w.lost = w.agents()
	for _, m := range w.lost {
		m.welcomed, m.kept, m.want, m.unacked, m.unseen = false, false, nil, nil, nil
	}
	w.s, w.peers, w.refused, w.reopens = New(Settings{}), map[Conn]*model{}, map[Bundle]bool{}, nil
	w.alive = map[Bundle]bool{}
	for _, e := range inherited {
		w.alive[e.Bundle] = true
	}
	w.step(began)
	for _, e := range inherited {
		w.step(e)
	}
}

// comeBack is an agent's next session.
func (w *world) comeBack() {
	i := w.r.IntN(len(w.lost))
	m := w.lost[i]
	w.lost = slices.Delete(w.lost, i, i+1)
	w.conn++
	w.peers[w.conn] = m
	h := wire.HelloRequest{Versions: wire.Spoken, PID: m.pid, Exemption: wire.ExemptByCgroup, Serving: m.serving, Retired: m.retired,
		Instance: m.instance, StandsBy: m.retired && !m.ends}
	for n, cookie := range m.has {
		h.Have = append(h.Have, wire.Have{Netns: n, Cookie: cookie})
	}
	m.retire = h.StandsBy
	slices.SortFunc(h.Have, func(a, b wire.Have) int { return compare(a.Netns, b.Netns) })
	w.frame(w.conn, wire.Hello, h)
}

// keepOne gives back one pod that the holder wants, and says when that was all.
func (w *world) keepOne(c Conn, m *model) {
	if len(m.want) == 0 {
		m.kept = true
		w.frame(c, wire.End, nil)
		return
	}
	n := m.want[0]
	m.want = m.want[1:]
	if cookie, has := m.has[n]; has {
		h := w.holding(n.Inode)
		h.Cookie = cookie
		w.step(Offered{Conn: c, Kind: wire.Keep, Holding: h, Bundle: w.newBundle()})
	}
}

func (w *world) anyPeer() (Conn, *model) {
	conns := make([]Conn, 0, len(w.peers))
	for c := range w.peers {
		conns = append(conns, c)
	}
	if len(conns) == 0 {
		return 0, nil
	}
	slices.Sort(conns)
	c := conns[w.r.IntN(len(conns))]
	return c, w.peers[c]
}

func (w *world) newPeer() {
	w.conn++
	m := &model{has: map[wire.Netns]uint64{}}
	w.peers[w.conn] = m
	inode := uint64(w.r.IntN(8))
	switch w.r.IntN(7) {
	case 0, 1, 2:
		h := w.holding(inode)
		h.Found = w.r.IntN(4) == 0
		e := Offered{Conn: w.conn, Kind: wire.Hold, Holding: h, Bundle: w.newBundle()}
		if w.r.IntN(8) == 0 {
			e.Problem = "wrong"
		}
		before := w.s.pods[h.Netns]
		w.step(e)
		if m.answers == 1 && before == nil && !w.saved[h.Netns] {
			w.t.Error("held, and not saved before")
		}
		if e.Problem == "" && !h.Found && m.answers != 1 {
			w.t.Errorf("a hold has %d answers", m.answers)
		}
	case 3:
		n := wire.Netns{Device: 4, Inode: inode}
		w.frame(w.conn, wire.Release, wire.Releasing{Netns: &n})
	case 4:
		w.frame(w.conn, wire.Release, wire.Releasing{ContainerID: fmt.Sprintf("c%d", inode/2), Interface: "eth0"})
	case 5:
		delete(w.peers, w.conn)
		w.step(Left{Netns: wire.Netns{Device: 4, Inode: inode}, Why: "gone"})
	case 6:
		m.agent, m.pid = true, int(w.conn)
		m.instance = []string{"", "", "old", "new", "newest"}[w.r.IntN(5)]
		w.frame(w.conn, wire.Hello, wire.HelloRequest{Versions: wire.Spoken, PID: m.pid, Exemption: wire.ExemptByCgroup, Instance: m.instance})
	}
}

func (w *world) frame(c Conn, k wire.Kind, payload any) {
	text, err := json.Marshal(payload)
	if err != nil {
		w.t.Error(err)
	}
	w.step(Frame{Conn: c, Kind: k, Payload: text})
}

func (w *world) agentSays(c Conn, m *model) {
	if m.welcomed && !m.kept && w.r.IntN(2) == 0 {
		w.keepOne(c, m)
		return
	}
	switch w.r.IntN(7) {
	case 0:
		w.frame(c, wire.Alive, nil)
	case 1:
		w.ackOne(c, m)
	case 2:
		w.seeOne(c, m)
	case 3:
		if m.welcomed {
			m.retire, m.retired, m.serving, m.ends = false, false, true, false
			w.frame(c, wire.Take, nil)
		}
	case 4:
		if m.retire {
			m.ends = m.ends || w.r.IntN(3) == 0
			w.frame(c, wire.Retired, wire.Retirement{Ends: m.ends})
			m.retired = true
		}
	case 5:
		if m.welcomed {
			h := w.holding(uint64(w.r.IntN(8)))
			if cookie, has := m.has[h.Netns]; has {
				h.Cookie = cookie
			}
			m.has[h.Netns] = h.Cookie
			w.step(Offered{Conn: c, Kind: wire.Keep, Holding: h, Bundle: w.newBundle()})
		}
	case 6:
		if len(m.has) > 0 && m.welcomed {
			n := slices.SortedFunc(maps.Keys(m.has), compare)[w.r.IntN(len(m.has))]
			delete(m.has, n)
			w.frame(c, wire.Release, wire.Releasing{Netns: &n})
		}
	}
}

func (w *world) ackOne(c Conn, m *model) {
	if len(m.unacked) > 0 {
		n := m.unacked[0]
		m.unacked = m.unacked[1:]
		w.frame(c, wire.Ack, wire.Acknowledgement{Netns: n})
	}
}

func (w *world) seeOne(c Conn, m *model) {
	if len(m.unseen) > 0 {
		seq := m.unseen[0]
		m.unseen = m.unseen[1:]
		w.frame(c, wire.Seen, wire.Sight{Seq: seq})
	}
}

// calmDown lets everybody answer, and compares what each has with what is held.
func (w *world) calmDown() {
	for len(w.lost) > 0 {
		w.comeBack()
	}
	w.now += int64(3 * time.Second)
	w.tick()
	for busy := true; busy; {
		busy = false
		for c := Conn(1); c <= w.conn; c++ {
			m := w.peers[c]
			if m == nil || !m.agent {
				continue
			}
			w.frame(c, wire.Alive, nil)
			for m.welcomed && !m.kept {
				busy = true
				w.keepOne(c, m)
			}
			for len(m.unseen) > 0 {
				busy = true
				w.seeOne(c, m)
			}
			for len(m.unacked) > 0 {
				busy = true
				w.ackOne(c, m)
			}
		}
	}
	owned := map[Bundle]bool{}
	for n, p := range w.s.pods {
		owned[p.bundle] = true
		if _, saved := w.files[n]; !saved {
			w.t.Errorf("%s has no state file", n)
		}
	}
	if len(w.files) != len(w.s.pods) || len(owned) != len(w.s.pods) || len(w.alive) != len(owned) {
		w.t.Errorf("%d pods, %d files, %d bundles of %d alive", len(w.s.pods), len(w.files), len(owned), len(w.alive))
	}
	for c, m := range w.peers {
		if !m.agent || m.retire || m.retired {
			continue
		}
		if !m.welcomed {
			w.t.Errorf("agent %d is not welcomed", c)
		}
		for n, p := range w.s.pods {
			if cookie, has := m.has[n]; !p.broken && (!has || cookie != p.Cookie) {
				w.t.Errorf("agent %d has %d of %s, held is %d", c, cookie, n, p.Cookie)
			}
		}
		for n := range m.has {
			if w.s.pods[n] == nil {
				w.t.Errorf("agent %d has %s, which is held no more", c, n)
			}
		}
	}
}
