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
type notices struct {
	log *slog.Logger

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
}

// Bounds of what is remembered and said.
const (
	noticeEvery   = time.Minute // between two lines about the same
	maxNotices    = 1024        // different ones at a time
	maxNoticeName = 253         // bytes of a name, DNS' own limit
	noticeRate    = 10.0        // lines a second in the long run
	noticeBurst   = 100.0       // lines at once
)

func newNotices(log *slog.Logger) *notices {
	return &notices{log: log, said: map[noticeKey]*notice{}, lines: noticeBurst}
}

// say logs a notice at its first time and counts it afterwards. describe is
// called only for the first.
func (n *notices) say(key noticeKey, describe func() notice) {
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if old := n.said[key]; old != nil {
		old.again++
		return
	}
	if len(n.said) >= maxNotices {
		n.unsaid++
		return
	}
	first := describe()
	first.since = now
	n.said[key] = &first
	if !n.allowed(now) {
		first.again = 1
		return
	}
	n.log.Log(context.Background(), first.level, first.message, first.about...)
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

// sumUp runs until ctx ends, then says what is still untold.
func (n *notices) sumUp(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			n.sum(time.Now(), true)
			return
		case now := <-tick.C:
			n.sum(now, false)
		}
	}
}

// sum says what happened again, and forgets what did not.
func (n *notices) sum(now time.Time, all bool) {
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
		n.log.Log(context.Background(), old.level, old.message, append(old.about[:len(old.about):len(old.about)],
			"times", old.again, "within", now.Sub(old.since).Round(time.Second))...)
		old.since, old.again = now, 0
	}
	if n.unsaid > 0 {
		n.log.Warn("more was refused, or failed, than is told one by one; the metrics have all of it", "times", n.unsaid)
		n.unsaid = 0
	}
}

// clip bounds what a stranger may have written into the log.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}
