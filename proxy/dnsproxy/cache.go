package dnsproxy

import (
	"container/list"
	"sync"
	"time"
)

// key is a question to the resolvers.
type key struct {
	name   string // lower case, no trailing dot
	qtype  uint16
	do, cd bool // whether signatures are wanted; whether they are left unchecked
}

// cache keeps what was found, and brings together those who wait for the same. When
// it is full, what was used the longest ago goes first.
type cache struct {
	mostEntries, mostBytes int

	mu      sync.Mutex
	entries map[key]*entry
	used    *list.List // of *entry, the latest in front
	bytes   int
}

// entry is one question; its fields are guarded by cache.mu.
type entry struct {
	key    key
	found  *found // the last answer that came; nil before the first
	retry  time.Time
	err    error         // of the last try, where it failed and nothing is at hand
	done   chan struct{} // non-nil while the resolvers are being asked
	cached int           // bytes counted
	place  *list.Element
}

func newCache(entries, bytes int) *cache {
	return &cache{mostEntries: entries, mostBytes: bytes, entries: make(map[key]*entry), used: list.New()}
}

// fresh is what was found and is still good.
func (c *cache) fresh(k key, now time.Time) *found {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e == nil || e.found == nil || now.Sub(e.found.at) >= e.found.ttl {
		return nil
	}
	c.used.MoveToFront(e.place)
	return e.found
}

// state is what there is to do about a question.
type state struct {
	found *found        // fresh, or stale where something is to be waited for
	err   error         // it failed a moment ago
	wait  chan struct{} // nil: nothing to wait for
	ask   bool          // the caller is the one to ask
}

// begin looks a question up; where nobody is asking it, the caller must, and say so
// by finish.
func (c *cache) begin(k key, now time.Time) state {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e == nil {
		e = &entry{key: k}
		e.place = c.used.PushFront(e)
		c.entries[k] = e
		c.count(e)
	}
	c.used.MoveToFront(e.place)
	if e.found != nil && now.Sub(e.found.at) < e.found.ttl {
		return state{found: e.found}
	}
	st := state{found: e.stale(now)}
	switch {
	case e.done != nil:
		st.wait = e.done
	case now.Before(e.retry):
		st.err = e.err
	default:
		e.done = make(chan struct{})
		st.wait, st.ask = e.done, true
	}
	return st
}

// stale is the last answer while it may still be used.
func (e *entry) stale(now time.Time) *found {
	if e.found != nil && now.Sub(e.found.at) < e.found.ttl+staleFor {
		return e.found
	}
	return nil
}

// finish keeps the outcome and wakes who waits for it. A failure does not replace an
// answer.
func (c *cache) finish(k key, f *found, err error, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e == nil || e.done == nil {
		return
	}
	if err == nil {
		e.found, e.err, e.retry = f, nil, time.Time{}
	} else {
		e.err, e.retry = err, now.Add(failureTTL)
		if e.found != nil {
			e.retry = now.Add(retryFailing)
		}
	}
	close(e.done)
	e.done = nil
	c.count(e)
}

// outcome is what came of a question that was waited for.
func (c *cache) outcome(k key, now time.Time) (*found, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	switch {
	case e == nil:
		return nil, errForgotten
	case e.found != nil && now.Sub(e.found.at) < e.found.ttl:
		return e.found, nil
	}
	return e.stale(now), e.err
}

// count keeps the sum of sizes, and makes room. Questions under way stay.
func (c *cache) count(e *entry) {
	size := overheadOfOne + len(e.key.name)
	if e.found != nil {
		size = e.found.size
	}
	c.bytes += size - e.cached
	e.cached = size
	for at := c.used.Back(); at != nil && (c.bytes > c.mostBytes || len(c.entries) > c.mostEntries); {
		old := at.Value.(*entry)
		at = at.Prev()
		if old.done != nil || old == e {
			continue
		}
		c.used.Remove(old.place)
		delete(c.entries, old.key)
		c.bytes -= old.cached
	}
}
