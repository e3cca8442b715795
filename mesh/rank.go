package mesh

import (
	"cmp"
	"slices"
	"strings"
)

// rank orders resources: of two that claim the same thing the one of lower rank has it.
type rank struct {
	// written is false of a cluster's Services, which come before all that is written for a
	// mesh: whoever may write ServiceEntries cannot take a Service's name (so in Istio,
	// pushcontext's initServiceRegistry).
	written  bool
	group    string
	position int
}

func (r rank) compare(other rank) int {
	if r.written != other.written {
		return sign(r.written)
	}
	return cmp.Or(strings.Compare(r.group, other.group), cmp.Compare(r.position, other.position))
}

// rank is a resource's among all.
func (p Place) rank() rank { return rank{p.Resource.Kind != KubernetesService, p.Group, p.Position} }

// order makes the rank of what embeds it known.
func (r rank) order() rank { return r }

// place gives what embeds the rank its own.
func (r *rank) place(at rank) { *r = at }

// ranked is a compiled resource in its place.
type ranked interface {
	comparable
	order() rank
}

func byRank[V ranked](a, b V) int { return a.order().compare(b.order()) }

// changedList gives a list, in order of rank, without some and with others.
func changedList[V ranked](list, removed, added []V) []V {
	out := make([]V, 0, len(list)+len(added))
	few := len(removed) < 8
	gone := make(map[V]bool)
	if !few {
		for _, v := range removed {
			gone[v] = true
		}
	}
	for _, v := range list {
		if few && !slices.Contains(removed, v) || !few && !gone[v] {
			out = append(out, v)
		}
	}
	if len(added) < 8 {
		for _, v := range added {
			at, _ := slices.BinarySearchFunc(out, v, byRank)
			out = slices.Insert(out, at, v)
		}
		return out
	}
	out = append(out, added...)
	slices.SortFunc(out, byRank)
	return out
}

// moves collects what goes out of a list and comes into it.
type moves[V ranked] struct{ out, in []V }

func (m *moves[V]) note(v V, in bool) {
	if in {
		m.in = append(m.in, v)
	} else {
		m.out = append(m.out, v)
	}
}

func (m *moves[V]) none() bool { return len(m.out)+len(m.in) == 0 }

func (m *moves[V]) apply(list []V) []V {
	if m.none() {
		return list
	}
	return changedList(list, m.out, m.in)
}

// lists keeps for each key the resources that name it, in order of rank.
type lists[K comparable, V ranked] struct{ table[K, []V] }

// listEdit collects what changes in lists.
type listEdit[K comparable, V ranked] struct{ removed, added map[K][]V }

func newListEdit[K comparable, V ranked]() listEdit[K, V] {
	return listEdit[K, V]{make(map[K][]V), make(map[K][]V)}
}

// note takes a resource in or out; for one key it may be called again.
func (e listEdit[K, V]) note(key K, v V, in bool) {
	side := e.removed
	if in {
		side = e.added
	}
	if list := side[key]; len(list) == 0 || list[len(list)-1] != v {
		side[key] = append(list, v)
	}
}

// keys gives each key of the edit once.
func (e listEdit[K, V]) keys(f func(K)) {
	for key := range e.removed {
		f(key)
	}
	for key := range e.added {
		if _, both := e.removed[key]; !both {
			f(key)
		}
	}
}

func (e listEdit[K, V]) apply(l lists[K, V]) lists[K, V] {
	edit := l.edit()
	e.keys(func(key K) {
		if list := changedList(edit.at(key), e.removed[key], e.added[key]); len(list) > 0 {
			edit.set(key, list)
		} else {
			edit.delete(key)
		}
	})
	return lists[K, V]{edit.table}
}
