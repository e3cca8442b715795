package mesh

import (
	"iter"
	"maps"
	"sync"
	"sync/atomic"
)

// memo remembers what was derived. Reading what has been there for a while takes no
// lock; keys must come from the configuration, not from strangers, so that it is bounded.
type memo[K comparable, V any] struct {
	read atomic.Pointer[map[K]V] // nil: nothing
	more atomic.Bool             // all has what read has not

	mu     sync.Mutex
	all    map[K]V // nil: read is all
	misses int     // of read, since it was made
}

func (m *memo[K, V]) get(key K) (V, bool) {
	if read := m.read.Load(); read != nil {
		if v, ok := (*read)[key]; ok {
			return v, true
		}
	}
	if !m.more.Load() {
		var none V
		return none, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.all[key]
	if m.all == nil {
		v, ok = m.ofRead(key) // made so meanwhile
	}
	m.missed()
	return v, ok
}

// memoBytes is get without making a string of the key.
func memoBytes[V any](m *memo[string, V], key []byte) (V, bool) {
	if read := m.read.Load(); read != nil {
		if v, ok := (*read)[string(key)]; ok {
			return v, true
		}
	}
	if !m.more.Load() {
		var none V
		return none, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.all[string(key)]
	if read := m.read.Load(); m.all == nil && read != nil {
		v, ok = (*read)[string(key)] // made so meanwhile
	}
	m.missed()
	return v, ok
}

func (m *memo[K, V]) ofRead(key K) (V, bool) {
	if read := m.read.Load(); read != nil {
		v, ok := (*read)[key]
		return v, ok
	}
	var none V
	return none, false
}

// missed makes all what is read without a lock, when copying it has paid.
func (m *memo[K, V]) missed() {
	if m.misses++; m.all != nil && m.misses >= len(m.all) {
		all := m.all
		m.read.Store(&all)
		m.more.Store(false)
		m.all, m.misses = nil, 0
	}
}

// put remembers a value, unless there is one, and gives the one that is remembered.
func (m *memo[K, V]) put(key K, value V) V {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		if there, ok := m.ofRead(key); ok {
			return there
		}
		m.all = make(map[K]V)
		if read := m.read.Load(); read != nil {
			maps.Copy(m.all, *read)
		}
		m.more.Store(true)
	}
	if there, ok := m.all[key]; ok {
		return there
	}
	m.all[key] = value
	return value
}

// entries gives what is remembered now.
func (m *memo[K, V]) entries() iter.Seq2[K, V] {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all != nil {
		return maps.All(maps.Clone(m.all))
	}
	if read := m.read.Load(); read != nil {
		return maps.All(*read)
	}
	return func(func(K, V) bool) {}
}

// take fills a new memo with what of another is kept.
func (m *memo[K, V]) take(other *memo[K, V], keep func(K, V) bool) {
	other.mu.Lock()
	from := other.all
	if from == nil {
		if read := other.read.Load(); read != nil {
			from = *read
		}
	}
	shared := other.all == nil // nobody writes to it
	dropped := make(map[K]bool)
	for k, v := range from {
		if !keep(k, v) {
			dropped[k] = true
		}
	}
	if len(dropped) > 0 || !shared {
		kept := make(map[K]V, len(from))
		for k, v := range from {
			if !dropped[k] {
				kept[k] = v
			}
		}
		from = kept
	}
	other.mu.Unlock()
	if len(from) > 0 {
		m.read.Store(&from)
	}
}
