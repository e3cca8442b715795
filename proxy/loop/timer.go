package loop

import "time"

// Timed is a handler that sets timers.
type Timed interface {
	Handler
	// Expired says that the time set last has come.
	Expired()
}

// Timer is one time limit of a handler. Moving it later costs nothing: it stays
// where it is in the queue and looks at its new time when its old one has come. So
// a limit that starts anew with each request is hardly ever queued anew.
type Timer struct {
	owner Timed
	at    int64 // what it is set to, in Unix nanoseconds; 0: not set
	key   int64 // where it stands in the queue, no later than at
	index int   // in the queue, from 1; 0: not there
}

// Set lets t expire at that time. The owner must be the same each time.
func (l *Loop) Set(t *Timer, owner Timed, at time.Time) {
	t.owner, t.at = owner, at.UnixNano()
	switch {
	case t.index == 0:
		t.key = t.at
		l.timers.push(t)
	case t.at < t.key:
		t.key = t.at
		l.timers.up(t.index - 1)
	}
}

// Stop takes t out; it may be set again.
func (l *Loop) Stop(t *Timer) {
	t.at = 0
	if t.index > 0 {
		l.timers.remove(t)
	}
}

// due takes a timer whose time has come out of the queue, nil where there is none.
func (q *timers) due(now int64) *Timer {
	for {
		key := q.first()
		if key == 0 || key > now {
			return nil
		}
		t := q.heap[0]
		if t.at <= now {
			q.remove(t)
			t.at = 0
			return t
		}
		t.key = t.at
		q.down(0)
	}
}

func expired(h Timed) {
	defer func() {
		if fault := recover(); fault != nil {
			h.Fault(fault)
		}
	}()
	h.Expired()
}

// timers is a binary heap by key.
type timers struct{ heap []*Timer }

func (q *timers) first() int64 {
	if len(q.heap) == 0 {
		return 0
	}
	return q.heap[0].key
}

func (q *timers) put(i int, t *Timer) {
	q.heap[i] = t
	t.index = i + 1
}

func (q *timers) push(t *Timer) {
	q.heap = append(q.heap, t)
	t.index = len(q.heap)
	q.up(len(q.heap) - 1)
}

func (q *timers) remove(t *Timer) {
	i, last := t.index-1, len(q.heap)-1
	moved := q.heap[last]
	q.heap[last] = nil
	q.heap = q.heap[:last]
	t.index = 0
	if i < last {
		q.put(i, moved)
		q.down(i)
		q.up(moved.index - 1)
	}
}

func (q *timers) up(i int) {
	t := q.heap[i]
	for i > 0 {
		parent := (i - 1) / 2
		if q.heap[parent].key <= t.key {
			break
		}
		q.put(i, q.heap[parent])
		i = parent
	}
	q.put(i, t)
}

func (q *timers) down(i int) {
	t := q.heap[i]
	for {
		child := 2*i + 1
		if child >= len(q.heap) {
			break
		}
		if child+1 < len(q.heap) && q.heap[child+1].key < q.heap[child].key {
			child++
		}
		if q.heap[child].key >= t.key {
			break
		}
		q.put(i, q.heap[child])
		i = child
	}
	q.put(i, t)
}
