// Package podlog is the log of many pods in one process: what one of them writes
// without end costs its own lines.
//
//	logs := podlog.New(slog.Default().Handler())
//	log := logs.Pod().With("pod", "shop/web-1")
//
// All pods together have fifty lines a second, and five hundred at once. What is beyond
// is left out, but for a line each ten seconds, and five at once, that every pod has for
// sure. A pod's next line says how many were left out before it (left_out).
package podlog

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Lines a second in the long run, and at once: of all pods, and of each in any case.
const (
	rate, burst         = 50, 500
	sureRate, sureBurst = 0.1, 5
)

// Log is where pods' logs meet.
type Log struct {
	inner slog.Handler
	now   func() time.Time

	mu     sync.Mutex
	common bucket
}

// New makes a log of pods over inner.
func New(inner slog.Handler) *Log {
	return &Log{inner: inner, now: time.Now, common: bucket{rate: rate, burst: burst, left: burst}}
}

// Pod is the log of one more pod.
func (l *Log) Pod() *slog.Logger {
	return slog.New(handler{l.inner, &pod{log: l, sure: bucket{rate: sureRate, burst: sureBurst, left: sureBurst}}})
}

// pod is guarded by its Log's mu.
type pod struct {
	log     *Log
	sure    bucket
	leftOut int64
}

// bucket is a budget of lines that fills again.
type bucket struct {
	rate, burst, left float64
	filled            time.Time
}

func (b *bucket) take(now time.Time) bool {
	if !b.filled.IsZero() {
		b.left = min(b.burst, b.left+max(now.Sub(b.filled), 0).Seconds()*b.rate)
	}
	b.filled = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// allowed says whether a line may be written, and how many were not before it.
func (p *pod) allowed() (leftOut int64, yes bool) {
	l := p.log
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.common.take(now) && !p.sure.take(now) {
		p.leftOut++
		return 0, false
	}
	leftOut, p.leftOut = p.leftOut, 0
	return leftOut, true
}

// handler is a pod's, with whatever attributes.
type handler struct {
	slog.Handler
	pod *pod
}

// Handle implements slog.Handler.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	leftOut, yes := h.pod.allowed()
	if !yes {
		return nil
	}
	if leftOut > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int64("left_out", leftOut))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs), h.pod}
}

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name), h.pod}
}
