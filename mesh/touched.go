package mesh

import (
	"slices"
	"sync/atomic"
)

// touched is what a change may have changed the answers about.
type touched struct {
	generation uint64          // of the snapshot after it
	names      []string        // hosts, wildcards among them
	addresses  bool            // some service has or had any, or some host has another virtual address
	subnets    bool            // some tcp route goes by destination
	opaque     map[uint16]bool // ports on which opaque services came or went
}

const (
	// maxTouched is how many names may be compared with what was derived; with more of
	// them nothing is taken over.
	maxTouched = 64
	// maxLog is how many changes back a view looks: an answer that nobody has asked for
	// since is derived anew, which takes less.
	maxLog = 32
)

func (t *touched) name(host string) {
	if len(t.names) <= maxTouched && !slices.Contains(t.names, host) {
		t.names = append(t.names, host)
	}
}

func (t *touched) everything() bool { return len(t.names) > maxTouched }

// concerns says whether an answer may be another that was derived from what is known
// about names: their own entries, and those of wildcards over and names under them.
func (t *touched) concerns(s *since) bool {
	if s.on&byAddress != 0 && t.addresses || s.on&bySubnet != 0 && t.subnets || s.on&byPort != 0 && t.opaque[s.port] {
		return true
	}
	for _, changed := range t.names {
		for _, name := range s.names {
			if overlap(changed, name) {
				return true
			}
		}
	}
	return false
}

// since is what an answer was derived from and until when that was seen to be the same.
type since struct {
	names []string
	on    dependence
	port  uint16
	upTo  atomic.Uint64 // the last generation that was looked at
}

// dependence is what an answer depends on beside names.
type dependence uint8

const (
	byAddress dependence = 1 << iota // which hosts have an address
	bySubnet                         // which tcp routes have one
	byPort                           // which services declare the port opaque
	momentary                        // on too much: it is for its own snapshot only
)

// holds says whether the answer is that of a view too.
func (s *since) holds(v *View) bool {
	upTo := s.upTo.Load()
	if upTo >= v.snapshot.generation {
		return true
	}
	if s.on&momentary != 0 || s.forgotten(v) {
		return false
	}
	for i := len(v.log) - 1; i >= 0 && v.log[i].generation > upTo; i-- {
		if v.log[i].concerns(s) {
			return false
		}
	}
	for upTo < v.snapshot.generation && !s.upTo.CompareAndSwap(upTo, v.snapshot.generation) {
		upTo = s.upTo.Load()
	}
	return true
}

// forgotten says whether the view does not know what changed since.
func (s *since) forgotten(v *View) bool {
	upTo := s.upTo.Load()
	return upTo < v.snapshot.generation && (len(v.log) == 0 || v.log[0].generation > upTo+1)
}

// derived is an answer.
type derived[T any] struct {
	value T
	since
}

// derive makes an answer of what was noted on the way to it.
func derive[T any](d *derivation, value T) *derived[T] {
	out := &derived[T]{value: value}
	out.names, out.on, out.port = d.noted(), d.on, d.port
	out.upTo.Store(d.snapshot.generation)
	return out
}

// takeViews has the views that somebody had asked for begin with what those of the
// snapshot before have derived.
func (s *Snapshot) takeViews(before *Snapshot, t *touched) {
	if t.everything() {
		return
	}
	before.mu.Lock()
	defer before.mu.Unlock()
	for key, v := range before.views {
		// The workload that it was made for stands for all that share it, so it has to be
		// one of those still.
		if v.asked && s.keyOf(v.workload) == key {
			s.views[key] = v.after(s, t)
		}
	}
}

func (v *View) after(s *Snapshot, t *touched) *View {
	next := newView(s, v.key, v.workload)
	next.log = append(slices.Clone(v.log[max(0, len(v.log)+1-maxLog):]), t)
	next.names.take(&v.names)
	v.listeners.mu.Lock()
	defer v.listeners.mu.Unlock()
	for port, l := range v.listeners.entries() {
		if l == nil {
			continue
		}
		if n := next.Listener(port); n != nil {
			n.take(l)
		}
	}
	return next
}

// take takes over what another snapshot's listener derived.
func (l *Listener) take(from *Listener) {
	l.hosts.take(&from.hosts)
	l.names.take(&from.names)
	l.opaque.take(&from.opaque)
	l.hello.take(&from.hello)
	l.tcp.take(&from.tcp)
	l.any.take(&from.any)
	l.named.Store(from.named.Load())
}
