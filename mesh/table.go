package mesh

import (
	"hash/maphash"
	"iter"
	"maps"
	"net/netip"
	"slices"
)

// table is a map that never changes: a change makes another, which shares all but a few
// pieces with it. The zero table needs its hash only.
type table[K comparable, V any] struct {
	hash   func(K) uint64
	shards []map[K]V // a power of two of them, or none
	count  int
}

// perShard is how many entries a shard has on average before there are more shards. A
// change copies one shard, and the list of all of them.
const perShard = 32

func (t *table[K, V]) get(key K) (V, bool) {
	if t.count == 0 {
		var none V
		return none, false
	}
	v, ok := t.shards[t.hash(key)&uint64(len(t.shards)-1)][key]
	return v, ok
}

// at is get for who takes the zero value for none.
func (t *table[K, V]) at(key K) V {
	v, _ := t.get(key)
	return v
}

// getBytes is get without making a string of the key.
func getBytes[V any](t *table[string, V], key []byte) (V, bool) {
	if t.count == 0 {
		var none V
		return none, false
	}
	v, ok := t.shards[maphash.Bytes(seed, key)&uint64(len(t.shards)-1)][string(key)]
	return v, ok
}

// all gives the entries in no order.
func (t *table[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, shard := range t.shards {
			for k, v := range shard {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// edit begins another table.
func (t table[K, V]) edit() *tableEdit[K, V] { return &tableEdit[K, V]{table: t} }

// tableEdit is a table while it is made. Its table may be taken when all is done.
type tableEdit[K comparable, V any] struct {
	table[K, V]
	own []bool // the shards that no other table has
}

// shard gives the shard of a key, to be written to.
func (e *tableEdit[K, V]) shard(key K) map[K]V {
	if e.own == nil {
		e.shards = slices.Clone(e.shards)
		if len(e.shards) == 0 {
			e.shards = make([]map[K]V, 1)
		}
		e.own = make([]bool, len(e.shards))
	}
	i := e.hash(key) & uint64(len(e.shards)-1)
	if !e.own[i] {
		e.own[i] = true
		if e.shards[i] = maps.Clone(e.shards[i]); e.shards[i] == nil {
			e.shards[i] = make(map[K]V)
		}
	}
	return e.shards[i]
}

func (e *tableEdit[K, V]) set(key K, value V) {
	shard := e.shard(key)
	before := len(shard)
	shard[key] = value
	e.count += len(shard) - before
	if e.count > perShard*len(e.shards) {
		e.grow()
	}
}

func (e *tableEdit[K, V]) delete(key K) {
	if _, there := e.get(key); there {
		delete(e.shard(key), key)
		e.count--
	}
}

func (e *tableEdit[K, V]) grow() {
	old := e.shards
	e.shards = make([]map[K]V, 4*len(old))
	e.own = make([]bool, len(e.shards))
	for i := range e.shards {
		e.shards[i], e.own[i] = make(map[K]V), true
	}
	for _, shard := range old {
		for k, v := range shard {
			e.shards[e.hash(k)&uint64(len(e.shards)-1)][k] = v
		}
	}
}

var seed = maphash.MakeSeed()

func hashString(s string) uint64 { return maphash.String(seed, s) }

func hashNumber(n uint32) uint64 { return uint64(n) * 0x9e3779b97f4a7c15 >> 32 }

func hashAddr(a netip.Addr) uint64 {
	b := a.As16()
	return maphash.Bytes(seed, b[:])
}

func hashPrefix(p netip.Prefix) uint64 {
	b := p.Addr().As16()
	return maphash.Bytes(seed, b[:]) ^ hashNumber(uint32(p.Bits()))
}

func hashRule(k ruleKey) uint64 { return hashString(k.host) ^ hashString(k.namespace)>>1 }

// counts is how often each key was counted.
type counts[K comparable] struct{ *tableEdit[K, int] }

func (c counts[K]) add(key K, n int) {
	if n += c.at(key); n > 0 {
		c.set(key, n)
	} else {
		c.delete(key)
	}
}
