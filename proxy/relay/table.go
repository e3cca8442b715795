package relay

import "sync/atomic"

// table finds the pair of a descriptor without a lock: the kernel hands small
// numbers out, so two levels of arrays do.
type table struct {
	chunks [tableChunks]atomic.Pointer[chunk]
}

const (
	chunkSize   = 1 << 10
	tableChunks = 1 << 10 // a million descriptors, the kernel's own default bound (fs.nr_open)
)

type chunk [chunkSize]atomic.Pointer[Pair]

func (t *table) get(fd int) *Pair {
	c := t.chunks[fd/chunkSize].Load()
	if c == nil {
		return nil
	}
	return c[fd%chunkSize].Load()
}

// put reports whether the table reaches as far as fd.
func (t *table) put(fd int, p *Pair) bool {
	if fd < 0 || fd >= chunkSize*tableChunks {
		return false
	}
	slot := &t.chunks[fd/chunkSize]
	c := slot.Load()
	for c == nil {
		slot.CompareAndSwap(nil, new(chunk))
		c = slot.Load()
	}
	c[fd%chunkSize].Store(p)
	return true
}

// drop forgets fd, unless its number already belongs to another pair.
func (t *table) drop(fd int, p *Pair) {
	if c := t.chunks[fd/chunkSize].Load(); c != nil {
		c[fd%chunkSize].CompareAndSwap(p, nil)
	}
}

// append adds every pair once.
func (t *table) append(all []*Pair) []*Pair {
	for i := range t.chunks {
		c := t.chunks[i].Load()
		if c == nil {
			continue
		}
		for j := range c {
			if p := c[j].Load(); p != nil && p.sides[0].fd == i*chunkSize+j {
				all = append(all, p)
			}
		}
	}
	return all
}
