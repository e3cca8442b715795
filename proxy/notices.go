package proxy

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// notices says the same thing once, then how often it happened again: a client
// that tries in a loop, under one name or ever new ones, can neither flood the
// log nor fill the memory.
//
// Nothing is written under its lock: a reader of the log that does not read holds up
// those who write, and nobody else.
type notices struct {
	log   *slog.Logger
	later chan func() // lines of those who must not wait; sumUp writes them
	sums  *chore

	mu     sync.Mutex
	said   map[noticeKey]*notice
	unsaid int64 // that found no place
	lines  float64
	filled time.Time // when lines was last topped up
}

// noticeKey is what makes two notices the same.
type noticeKey struct {
	reason, name string
	port         uint16
}

type notice struct {
	level   slog.Level
	message string
	about   []any

	since time.Time // when it was last told
	again int64     // how often it happened since
	last  time.Time // when it last did
}

// Bounds of what is remembered and said.
const (
	noticeEvery   = time.Minute // between two lines about the same
	maxNotices    = 1024        // different ones at a time
	maxNoticeName = 253         // bytes of a name, DNS' own limit
	noticeRate    = 10.0        // lines a second in the long run
	noticeBurst   = 100.0       // lines at once
	noticesLater  = 128         // lines that wait to be written for those who must not
)

func newNotices(log *slog.Logger) *notices {
	n := &notices{log: log, later: make(chan func(), noticesLater), said: map[noticeKey]*notice{}, lines: noticeBurst}
	n.sums = newChore(n.sumUp)
	return n
}

// say logs a notice at its first time and counts it afterwards. describe is
// called only for the first.
func (n *notices) say(key noticeKey, describe func() notice) {
	if line := n.note(key, describe); line != nil {
		line()
	}
}

// sayLater is say for those who must not wait. A line that finds no room is told of
// when the notice is summed up.
func (n *notices) sayLater(key noticeKey, describe func() notice) {
	line := n.note(key, describe)
	if line == nil {
		return
	}
	select {
	case n.later <- line:
		n.sums.ring()
	default:
		n.mu.Lock()
		defer n.mu.Unlock()
		if first := n.said[key]; first != nil {
			first.repeated(time.Now())
		} else {
			n.unsaid++
			n.sums.ring()
		}
	}
}

// note counts a notice. What it returns writes its line, nil where there is none to
// write.
func (n *notices) note(key noticeKey, describe func() notice) func() {
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if old := n.said[key]; old != nil {
		old.repeated(now)
		return nil
	}
	if len(n.said) >= maxNotices {
		n.unsaid++
		return nil
	}
	if len(n.said) == 0 {
		n.sums.ring()
	}
	first := describe()
	first.since = now
	n.said[key] = &first
	if !n.allowed(now) {
		first.repeated(now)
		return nil
	}
	return n.line(&first)
}

func (n *notice) repeated(now time.Time) { n.again, n.last = n.again+1, now }

// line is a notice's line, to be written when the lock is free.
func (n *notices) line(about *notice, more ...any) func() {
	level, message, all := about.level, about.message, append(about.about[:len(about.about):len(about.about)], more...)
	return func() { n.log.Log(context.Background(), level, message, all...) }
}

// allowed takes one line from the budget.
func (n *notices) allowed(now time.Time) bool {
	if !n.filled.IsZero() {
		n.lines = min(noticeBurst, n.lines+now.Sub(n.filled).Seconds()*noticeRate)
	}
	n.filled = now
	if n.lines < 1 {
		return false
	}
	n.lines--
	return true
}

// sumUp writes the lines of those who must not wait, and says now and then what happened
// again.
func (n *notices) sumUp(ctx context.Context, c *chore) {
	due := time.NewTimer(sweepEvery)
	defer due.Stop()
	for more := true; more || len(n.later) > 0 || !c.rests(); {
		select {
		case line := <-n.later:
			line()
		case <-c.wake:
			if !more {
				more = true
				due.Reset(sweepEvery)
			}
		case <-ctx.Done():
			return
		case now := <-due.C:
			if more = n.sum(now, false); more {
				due.Reset(sweepEvery)
			}
		}
	}
}

// end tells all that there is, once nothing adds to it.
func (n *notices) end() {
	for len(n.later) > 0 {
		(<-n.later)()
	}
	n.sum(time.Now(), true)
}

// sum says what happened again, and forgets what did not. It says whether there is
// anything left to be told later.
func (n *notices) sum(now time.Time, all bool) (more bool) {
	lines, more := n.due(now, all)
	for _, line := range lines {
		line()
	}
	return more
}

// due are the lines that it is time for.
func (n *notices) due(now time.Time, all bool) (lines []func(), more bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, old := range n.said {
		if !all && now.Sub(old.since) < noticeEvery {
			continue
		}
		if old.again == 0 || !n.allowed(now) {
			n.unsaid += old.again
			delete(n.said, key)
			continue
		}
		lines = append(lines, n.line(old, "times", old.again, "since", old.since, "last", old.last))
		old.since, old.again = now, 0
	}
	if n.unsaid > 0 {
		unsaid := n.unsaid
		lines = append(lines, func() {
			n.log.Warn("more was refused, or failed, than is told one by one; the metrics have all of it", "times", unsaid)
		})
		n.unsaid = 0
	}
	return lines, len(n.said) > 0
}

// clip bounds what a stranger may have written into the log.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}
