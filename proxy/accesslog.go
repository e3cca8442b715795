package proxy

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// AccessLogFormat is how a line of the access log is written.
type AccessLogFormat uint8

const (
	// AccessLogJSON has Istio's keys, Envoy's operators in snake case.
	AccessLogJSON AccessLogFormat = iota
	// AccessLogText is Istio's default line.
	AccessLogText
)

// accessLog collects lines and writes them out in batches. Requests only ever
// append to memory: a full disk or a reader that is too slow costs lines, which
// are counted, never time.
type accessLog struct {
	out    io.Writer
	format func([]byte, *entry, time.Time) []byte
	log    *slog.Logger
	lost   func(lines int64)

	mu      sync.Mutex
	buf     []byte
	dropped int64         // lines that found no room since the last batch
	full    chan struct{} // a batch is worth writing now

	spare  []byte // the rest is the writer's
	torn   bool   // the last line written is not whole
	failed bool   // the last write failed, and that was said
}

const (
	accessFlushEvery = 100 * time.Millisecond
	accessFlushAt    = 64 << 10
	accessKeep       = 4 << 20 // bytes that wait for a slow reader
	accessGrace      = 2 * time.Second
)

func newAccessLog(out io.Writer, format AccessLogFormat, log *slog.Logger, lost func(int64)) *accessLog {
	l := &accessLog{out: out, format: appendJSON, log: log, lost: lost, full: make(chan struct{}, 1)}
	if format == AccessLogText {
		l.format = appendTextLine
	}
	return l
}

func (l *accessLog) write(e *entry, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buf) >= accessKeep {
		l.dropped++
		return
	}
	l.buf = l.format(l.buf, e, now)
	if len(l.buf) >= accessFlushAt {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
}

// flush writes what was collected until ctx ends, then what is left. A reader
// that does not read cannot hold it up for longer than accessGrace: the one
// write that waits for it is left to its fate.
func (l *accessLog) flush(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.batches(ctx)
	}()
	<-ctx.Done()
	late := time.NewTimer(accessGrace)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		l.log.Warn("the access log's reader does not read; what it has not read is lost")
	}
}

func (l *accessLog) batches(ctx context.Context) {
	tick := time.NewTicker(accessFlushEvery)
	defer tick.Stop()
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-tick.C:
		case <-l.full:
		}
		l.batch()
	}
}

func (l *accessLog) batch() {
	l.mu.Lock()
	out, dropped := l.buf, l.dropped
	l.buf, l.dropped = l.spare[:0], 0
	l.mu.Unlock()
	if len(out) > 0 {
		dropped += l.put(out)
	}
	l.spare = out
	if cap(l.spare) > 8*accessFlushAt {
		l.spare = nil
	}
	if dropped > 0 {
		l.lost(dropped)
	}
}

// put writes a batch and returns how many of its lines were not.
func (l *accessLog) put(b []byte) (lines int64) {
	if l.torn { // so that only one line is spoiled
		if _, err := l.out.Write([]byte("\n")); err == nil {
			l.torn = false
		}
	}
	n, err := l.out.Write(b)
	if err == nil {
		if l.failed {
			l.log.Info("the access log is written again")
		}
		l.failed = false
		return 0
	}
	n = min(max(n, 0), len(b))
	l.torn = l.torn || n > 0 && b[n-1] != '\n'
	if !l.failed {
		l.failed = true
		l.log.Error("the access log cannot be written; lines are lost and counted, traffic goes on", "error", err)
	}
	return int64(bytes.Count(b[n:], []byte("\n")))
}
