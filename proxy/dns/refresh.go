package dns

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// maxRenewals bounds the lookups that Run has under way.
const maxRenewals = 16

// Run asks again for names in use when their TTL ends, and forgets those that
// nobody uses, until ctx ends and the lookups it began have ended. Of several
// calls at one time one works and the others stand by.
func (r *Resolver) Run(ctx context.Context) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return
	}
	var renewals sync.WaitGroup
	defer renewals.Wait()
	slots := make(chan struct{}, maxRenewals)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		e := r.next(ctx)
		if e == nil {
			return
		}
		renewals.Go(func() {
			defer func() { <-slots }()
			r.fill(ctx, e)
		})
	}
}

// next waits until an entry is due and begins its lookup; nil when ctx has ended.
func (r *Resolver) next(ctx context.Context) *entry {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		e, wait := r.pop(time.Now())
		if e != nil {
			return e
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-r.wake:
		case <-ctx.Done():
		}
	}
	return nil
}

// nothingDue is how long to wait where no entry is queued: one that comes wakes.
const nothingDue = time.Hour

// pop takes the first entry that is due and wanted, or says how long none will be.
func (r *Resolver) pop(now time.Time) (*entry, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) > 0 {
		e := r.queue[0]
		if wait := e.due.Sub(now); wait > 0 {
			return nil, wait
		}
		switch {
		case e.busy: // a lookup began by itself; its end queues the entry again
			heap.Remove(&r.queue, e.place)
		case !e.wanted(now):
			r.forget(e)
		default:
			heap.Remove(&r.queue, e.place)
			e.begin(now)
			return e, 0
		}
	}
	return nil, nothingDue
}

// schedule queues an entry for its renewal. r.mu is held.
func (r *Resolver) schedule(e *entry) {
	if r.cache[e.name] != e {
		return
	}
	e.due = e.renewal()
	if e.place < 0 {
		heap.Push(&r.queue, e)
	} else {
		heap.Fix(&r.queue, e.place)
	}
	if e.place == 0 {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// forget drops an entry. r.mu is held.
func (r *Resolver) forget(e *entry) {
	delete(r.cache, e.name)
	if e.place >= 0 {
		heap.Remove(&r.queue, e.place)
	}
}

// queue is a heap of entries, the one that is due first on top.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

func (q *queue) Push(e any) {
	e.(*entry).place = len(*q)
	*q = append(*q, e.(*entry))
}

func (q *queue) Pop() any {
	all := *q
	e := all[len(all)-1]
	all[len(all)-1] = nil
	*q, e.place = all[:len(all)-1], -1
	return e
}
