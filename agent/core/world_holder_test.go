package core_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/selection"
)

type holder struct {
	up   bool
	held map[wire.Netns]core.Held // Files means nothing here
}

// bring is a Held event with files of the agent's own.
func (w *world) bring(a *agent, h core.Held) core.Held {
	a.nextFiles++
	a.files[a.nextFiles] = h.Pod
	delete(a.toldGone, h.Pod)
	h.Files = a.nextFiles
	return h
}

// add is the plugin's hold; commit its rules.
func (w *world) add(id wire.Netns, name selection.Pod, gate time.Duration) (out []step) {
	n := w.namespace(id)
	n.name, n.alive, n.path, n.rules = name, true, w.newPath(id), kernelRules{state: core.RulesNone}
	h := core.Held{
		Pod: id, Name: name, Gate: gate, Ports: core.Ports{Outbound: 15001, DNS: 15053},
		Attachment: wire.Attachment{ContainerID: fmt.Sprint("c", id.Inode), Interface: "eth0", Path: n.path},
		Document:   selection.Document{Mark: uint32(id.Inode) + 1000},
	}
	w.holder.held[id] = h
	for _, a := range w.agents {
		if a.connected && !a.retired {
			out = append(out, step{a, w.bring(a, h)})
		}
	}
	return out
}

// release is DEL, or the holder that sees the namespace end.
func (w *world) release(id wire.Netns) (out []step) {
	if _, ok := w.holder.held[id]; !ok || !w.holder.up {
		return nil
	}
	delete(w.holder.held, id)
	for _, a := range w.agents {
		if a.connected {
			a.toldGone[id] = true
			out = append(out, step{a, core.Gone{Pod: id}})
		}
	}
	return out
}

// crashHolder ends the holder; its sockets live on where an agent has them.
func (w *world) crashHolder() (out []step) {
	if !w.holder.up {
		return nil
	}
	w.holder.up = false
	for _, a := range w.agents {
		a.greeting = false
		if a.connected {
			a.connected, a.seenSeq = false, 0
			out = append(out, step{a, core.HolderLost{}})
		}
	}
	return out
}

// restartHolder is a new one that reads its state, unless that is lost. What an agent
// listens on it cannot listen on: it waits for the agent to give it back. Another port
// is taken where the old one is not to be had.
func (w *world) restartHolder(stateLost bool) {
	w.holder.up = true
	for id := range w.holder.held {
		n := w.namespaces[id]
		lost := stateLost || n == nil || !n.alive
		for _, a := range w.agents {
			lost = lost || slices.Contains(slices.Collect(maps.Values(a.files)), id)
		}
		if lost {
			delete(w.holder.held, id)
		}
	}
}

// bringOthers: what one agent gives to the holder, the others get.
func (w *world) bringOthers(a *agent, h core.Held) {
	for _, o := range w.agents {
		has := slices.Contains(slices.Collect(maps.Values(o.files)), h.Pod) && !o.toldGone[h.Pod]
		if o != a && o.connected && !o.retired && !has {
			w.outbox = append(w.outbox, step{o, w.bring(o, h)})
		}
	}
}

// tellGone: what one agent lets go of, the others hear of.
func (w *world) tellGone(a *agent, id wire.Netns) {
	for _, o := range w.agents {
		if o != a && o.connected {
			o.toldGone[id] = true
			w.outbox = append(w.outbox, step{o, core.Gone{Pod: id}})
		}
	}
}
