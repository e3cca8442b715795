package core_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/selection"
)

type namespace struct {
	id    wire.Netns
	name  selection.Pod
	path  string
	pid   int
	known bool // to the runtime
	// foreign: a pod's own process made it
	foreign bool
	alive   bool
	rules   kernelRules
	conns   map[*agent]int // redirected and open
}

type kernelRules struct {
	state    core.RulesState
	hash     string
	shape    string
	running  bool
	gate     time.Duration
	beatTill int64
	agents   []uint64
	ports    core.Ports
	mark     uint32
	iptables bool // which know no agents, only the mark
	tampered bool
	// slipped: an agent that was stopped meanwhile wrote its exemptions over another's.
	slipped bool
}

func (w *world) sorted() []wire.Netns {
	return slices.SortedFunc(maps.Keys(w.namespaces), func(a, b wire.Netns) int { return int(a.Inode) - int(b.Inode) })
}

func (w *world) namespace(id wire.Netns) *namespace {
	if w.namespaces[id] == nil {
		w.namespaces[id] = &namespace{id: id, conns: map[*agent]int{}}
	}
	return w.namespaces[id]
}

// free says that nothing keeps the namespace alive, so that its inode may be another's.
func (w *world) free(id wire.Netns) bool {
	if n := w.namespaces[id]; n != nil && n.alive {
		return false
	}
	if _, held := w.holder.held[id]; held {
		return false
	}
	for _, a := range w.agents {
		if slices.Contains(slices.Collect(maps.Values(a.files)), id) {
			return false
		}
	}
	return true
}

// newPath is one that no namespace had before: runtimes draw them.
func (w *world) newPath(id wire.Netns) string {
	w.paths++
	return fmt.Sprintf("/run/netns/%d-%d", id.Inode, w.paths)
}

func (w *world) commit(id wire.Netns, hash, shape string) {
	n := w.namespaces[id]
	h := w.holder.held[id]
	n.rules = kernelRules{state: core.RulesApplied, hash: hash, shape: shape, gate: h.Gate, ports: h.Ports, beatTill: w.now + int64(h.Gate)}
	if w.byMark || w.policy[n.name.Namespace].Mark != 0 {
		n.rules.mark, n.rules.iptables = h.Document.Mark, !w.byMark
	}
}

// end is a namespace that the runtime removes.
func (w *world) end(id wire.Netns) {
	n := w.namespaces[id]
	n.alive, n.known, n.pid, n.rules = false, false, 0, kernelRules{state: core.RulesNone}
	clear(n.conns)
}

func (w *world) sweep(complete bool) core.Found {
	f := core.Found{Complete: complete}
	for _, id := range w.sorted() {
		if n := w.namespaces[id]; n.alive {
			f.Pods = append(f.Pods, core.FoundPod{Pod: id, Path: n.path, PID: n.pid, Foreign: n.foreign, Known: n.known, Name: w.nameFor(n)})
		}
	}
	return f
}

func (w *world) nameFor(n *namespace) selection.Pod {
	if !n.known {
		return selection.Pod{}
	}
	return n.name
}

// connect is a client in a pod: where its connection comes to, in a word.
func (w *world) connect(id wire.Netns) string {
	n := w.namespaces[id]
	r := n.rules
	if r.state != core.RulesApplied || r.gate > 0 && r.beatTill <= w.now {
		return "direct"
	}
	for _, a := range w.agents {
		if _, ok := a.serving[id]; ok {
			n.conns[a]++
			return "served by " + a.name
		}
	}
	if _, ok := w.holder.held[id]; ok && w.holder.up {
		return "waits"
	}
	for _, a := range w.agents {
		if slices.Contains(slices.Collect(maps.Values(a.files)), id) {
			return "waits"
		}
	}
	return "refused"
}

// finish answers drains that have no connection left, or no time.
func (w *world) finish(a *agent) (out []step) {
	for _, seq := range slices.Sorted(maps.Keys(a.draining)) {
		d := a.draining[seq]
		n := w.namespaces[d.pod]
		if n.alive && n.conns[a] > 0 && w.now < d.till {
			continue
		}
		if _, serving := a.serving[d.pod]; !serving {
			delete(n.conns, a)
		}
		delete(a.draining, seq)
		if d.closing {
			delete(a.files, d.files)
		}
		out = append(out, step{a, core.Drained{Pod: d.pod, Stop: seq}})
	}
	return out
}

// portsOf a hash, where the policy puts another port than the usual.
func portsOf(hash string) core.Ports {
	p := core.Ports{Outbound: 15001, DNS: 15053}
	if _, port, ok := strings.Cut(hash, ":"); ok {
		fmt.Sscan(port, &p.Outbound)
	}
	return p
}
