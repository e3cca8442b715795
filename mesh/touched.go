package mesh

import (
	"net/netip"
	"slices"
)

// touched is what a change may have changed the answers about.
type touched struct {
	names     []string        // hosts, wildcards among them
	addresses bool            // some service has or had any
	virtual   bool            // some host has another virtual address
	subnets   bool            // some tcp route goes by destination
	opaque    map[uint16]bool // ports on which opaque services came or went
}

// maxTouched is how many names may be compared with what was derived; with more of them
// nothing is taken over.
const maxTouched = 64

func (t *touched) name(host string) {
	if len(t.names) <= maxTouched && !slices.Contains(t.names, host) {
		t.names = append(t.names, host)
	}
}

func (t *touched) everything() bool { return len(t.names) > maxTouched }

// hits says whether an answer may be another that was derived from what is known about
// names: their own entries, and those of wildcards over and names under them.
func (t *touched) hits(names []string) bool {
	for _, changed := range t.names {
		for _, name := range names {
			if overlap(changed, name) {
				return true
			}
		}
	}
	return false
}

// derived is an answer and the names that it was derived from.
type derived[T any] struct {
	value T
	names []string
}

// takeViews takes over what was derived in the views of the snapshot before, as far as
// it is still so, for those that somebody had asked for.
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
	next.names.take(&v.names, func(_ string, d *derived[*Name]) bool { return !t.hits(d.names) })
	for port, l := range v.used() {
		if l == nil {
			continue
		}
		if n := next.Listener(port); n != nil {
			n.take(l, t)
		}
	}
	return next
}

// take takes over what another snapshot's listener derived.
func (l *Listener) take(from *Listener, t *touched) {
	l.hosts.take(&from.hosts, func(name string, d *derived[*VirtualHost]) bool {
		return !t.hits(d.names) && !((t.addresses || t.virtual) && likeAddress([]byte(name)))
	})
	l.names.take(&from.names, func(_ string, d *derived[[]nameRoute]) bool { return !t.hits(d.names) })
	l.opaque.take(&from.opaque, func(_ string, d *derived[*opaqueHost]) bool { return !t.hits(d.names) })
	if t.addresses || t.virtual {
		return
	}
	keep := func(_ netip.Prefix, d *derived[*TCPRoute]) bool { return !t.hits(d.names) }
	l.hello.take(&from.hello, keep)
	if t.subnets || len(l.view.snapshot.subnetted) > 0 || t.opaque[l.Port] {
		return
	}
	l.tcp.take(&from.tcp, keep)
	l.any.take(&from.any, keep)
	if byName := from.named.Load(); byName != nil && !t.hits(byName.names) {
		l.named.Store(byName)
	}
}
