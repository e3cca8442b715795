package mesh

import (
	"iter"
	"maps"
	"sync"
	"sync/atomic"
)

// memo remembers what a view derived. What has been there for a while is read without a
// lock. The keys must come from the configuration, not from strangers, so that it is
// bounded. The view of the next snapshot begins with what it has, and looks at each
// entry for itself.
type memo[K comparable, V remembered] struct {
	read atomic.Pointer[map[K]V] // never written to; nil: nothing
	more atomic.Bool             // there are recent ones

	mu     sync.Mutex
	recent map[K]V // put since read was made
	misses int     // of read, since it was made
}

// remembered is an entry that may be out of date in the view that asks, or gone from what
// views remember of the past.
type remembered interface {
	holds(v *View) bool
	forgotten(v *View) bool
}

func (m *memo[K, V]) get(v *View, key K) (V, bool) {
	if read := m.read.Load(); read != nil {
		if found, ok := (*read)[key]; ok && found.holds(v) {
			return found, true
		}
	}
	if !m.more.Load() {
		var none V
		return none, false
	}
	return m.lookUp(v, key)
}

// memoBytes is get without making a string of the key, if it can be helped.
func memoBytes[V remembered](m *memo[string, V], v *View, key []byte) (V, bool) {
	if read := m.read.Load(); read != nil {
		if found, ok := (*read)[string(key)]; ok && found.holds(v) {
			return found, true
		}
	}
	if !m.more.Load() {
		var none V
		return none, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	found, ok := m.recent[string(key)]
	return found, m.missed(v, ok && found.holds(v))
}

func (m *memo[K, V]) lookUp(v *View, key K) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, ok := m.recent[key]
	return found, m.missed(v, ok && found.holds(v))
}

// missed counts, and when copying has paid makes all what is read without a lock.
func (m *memo[K, V]) missed(v *View, found bool) bool {
	if m.misses++; m.misses > len(m.recent)+m.size()/16 {
		m.merge(v)
	}
	return found
}

func (m *memo[K, V]) size() int {
	if read := m.read.Load(); read != nil {
		return len(*read)
	}
	return 0
}

// put remembers a value, unless there is one that holds, and gives the one that is
// remembered.
func (m *memo[K, V]) put(v *View, key K, value V) V {
	m.mu.Lock()
	defer m.mu.Unlock()
	if there, ok := m.recent[key]; ok && there.holds(v) {
		return there
	}
	if read := m.read.Load(); read != nil {
		if there, ok := (*read)[key]; ok && there.holds(v) {
			return there
		}
	}
	if m.recent == nil {
		m.recent = make(map[K]V)
	}
	m.recent[key] = value
	m.more.Store(true)
	if len(m.recent) > 64+m.size()/32 { // a snapshot after this one copies them
		m.merge(v)
	}
	return value
}

// merge leaves out what nobody has asked for in a long time.
func (m *memo[K, V]) merge(v *View) {
	all := make(map[K]V, len(m.recent)+m.size())
	for k, found := range m.entries() {
		if !found.forgotten(v) {
			all[k] = found
		}
	}
	m.read.Store(&all)
	m.more.Store(false)
	m.recent, m.misses = nil, 0
}

// entries gives what is remembered, what is out of date among it; the caller holds mu.
func (m *memo[K, V]) entries() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if read := m.read.Load(); read != nil {
			for k, found := range *read {
				if _, newer := m.recent[k]; !newer && !yield(k, found) {
					return
				}
			}
		}
		for k, found := range m.recent {
			if !yield(k, found) {
				return
			}
		}
	}
}

// take begins with what another remembers.
func (m *memo[K, V]) take(other *memo[K, V]) {
	other.mu.Lock()
	defer other.mu.Unlock()
	m.read.Store(other.read.Load())
	m.recent = maps.Clone(other.recent)
	m.more.Store(len(m.recent) > 0)
}
