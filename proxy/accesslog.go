package proxy

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// AccessLogFormat is how a line of the access log is written.
type AccessLogFormat uint8

const (
	// AccessLogJSON has Istio's keys, Envoy's operators in snake case.
	AccessLogJSON AccessLogFormat = iota
	// AccessLogText is Istio's default line.
	AccessLogText
)

// AccessLog collects lines and writes them out in batches. Requests only ever
// append to memory: a full disk or a reader that is too slow costs lines, which
// are counted, never time. Servers that share one each have room of their own in it,
// so that a flood costs its own pod's lines.
type AccessLog struct {
	out    io.Writer
	format func([]byte, *entry, time.Time) []byte
	text   bool
	log    *slog.Logger

	mu     sync.Mutex
	buf    []byte
	spans  []span
	beyond int    // bytes of buf that are more than what a server has room for in any case
	batch  uint64 // counts them

	begun, full chan struct{} // a batch has its first line, and is worth writing now

	spare      []byte // the rest is the writer's
	spareSpans []span
	torn       bool // the last line written is not whole
	failed     bool // the last write failed, and that was said
}

// span is lines of one server.
type span struct {
	of  *accessPart
	end int // in AccessLog.buf
}

// accessPart is a server's part in an AccessLog.
type accessPart struct {
	in     *AccessLog
	lost   func(lines int64)
	shared bool
	who    atomic.Pointer[logged]

	held  int    // bytes in the batch; guarded by AccessLog.mu, as batch is
	batch uint64 // of which that is so
}

// logged is a workload as the lines of a shared log name it.
type logged struct {
	workload *mesh.Workload
	text     []byte
}

const (
	accessFlushEvery = 100 * time.Millisecond // after a batch's first line
	accessFlushAt    = 64 << 10
	accessKeep       = 4 << 20 // bytes that wait for a slow reader, beyond accessSure of each server
	accessGrace      = 2 * time.Second

	// Of a shared log.
	accessSure = 16 << 10 // bytes that a server has room for however much others write
	accessMost = 64 << 10 // bytes of one server that wait
)

// NewAccessLog is a log that Servers share (Config.AccessLogs), whose lines name the pod.
// out gets many lines in one Write, which may block or fail. log is told of that; nil:
// slog.Default().
func NewAccessLog(out io.Writer, format AccessLogFormat, log *slog.Logger) *AccessLog {
	if log == nil {
		log = slog.Default()
	}
	l := &AccessLog{out: out, format: appendJSON, log: log, begun: make(chan struct{}, 1), full: make(chan struct{}, 1)}
	if format == AccessLogText {
		l.format, l.text = appendTextLine, true
	}
	return l
}

// join is the part of one more server. lost is told of its lines that are not written,
// by any goroutine, and must not wait.
func (l *AccessLog) join(shared bool, lost func(lines int64)) *accessPart {
	return &accessPart{in: l, lost: lost, shared: shared}
}

// scratch is where a line is made, so that others do not wait meanwhile.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

func (p *accessPart) write(e *entry, now time.Time, w *mesh.Workload) {
	mem := scratch.Get().(*[]byte)
	line := p.in.format((*mem)[:0], e, now)
	if p.shared {
		line = p.name(line, w)
	}
	kept := p.in.add(p, line)
	if cap(line) <= 8<<10 {
		*mem = line
		scratch.Put(mem)
	}
	if !kept {
		p.lost(1)
	}
}

// name puts the pod at the line's end.
func (p *accessPart) name(line []byte, w *mesh.Workload) []byte {
	who := p.who.Load()
	if who == nil || who.workload != w {
		who = &logged{workload: w, text: p.in.pod(w)}
		p.who.Store(who)
	}
	cut := len("\n")
	if !p.in.text {
		cut = len("}\n")
	}
	return append(line[:len(line)-cut], who.text...)
}

// pod is how a line ends that names a pod.
func (l *AccessLog) pod(w *mesh.Workload) []byte {
	if l.text {
		b := append(appendWord([]byte{' '}, w.Namespace), ' ')
		return append(appendWord(b, w.Pod), '\n')
	}
	b := appendOptional(nil, "pod_namespace", w.Namespace, maxLogged)
	return append(appendOptional(b, "pod_name", w.Pod, maxLogged), "}\n"...)
}

// add reports false where there is no room for a line.
func (l *AccessLog) add(p *accessPart, line []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.batch != l.batch {
		p.held, p.batch = 0, l.batch
	}
	sure, most := 0, accessKeep
	if p.shared {
		sure, most = accessSure, accessMost
	}
	if p.held >= sure && (p.held >= most || l.beyond >= accessKeep) {
		return false
	}
	l.beyond -= max(p.held-sure, 0)
	p.held += len(line)
	l.beyond += max(p.held-sure, 0)
	if len(l.buf) == 0 {
		ring(l.begun)
	}
	l.buf = append(l.buf, line...)
	if n := len(l.spans); n > 0 && l.spans[n-1].of == p {
		l.spans[n-1].end = len(l.buf)
	} else {
		l.spans = append(l.spans, span{p, len(l.buf)})
	}
	if len(l.buf) >= accessFlushAt {
		ring(l.full)
	}
	return true
}

// ring puts a token into a channel that has room for one.
func ring(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run writes what is collected until ctx ends, then what is left; the Servers should
// have ended by then. A reader that does not read cannot hold it up for longer than two
// seconds: the one write that waits for it is left to its fate.
func (l *AccessLog) Run(ctx context.Context) {
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

// batches costs nothing while no lines come.
func (l *AccessLog) batches(ctx context.Context) {
	due := time.NewTimer(accessFlushEvery)
	defer due.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-l.begun:
			due.Reset(accessFlushEvery)
			select {
			case <-ctx.Done():
			case <-due.C:
			case <-l.full:
			}
		}
		l.flush()
	}
	l.flush() // what came while the last was written
}

// flush writes a batch.
func (l *AccessLog) flush() {
	l.mu.Lock()
	out, spans := l.buf, l.spans
	l.buf, l.spans = l.spare[:0], l.spareSpans[:0]
	l.beyond = 0
	l.batch++
	select {
	case <-l.full: // which was about this one
	default:
	}
	l.mu.Unlock()
	if len(out) > 0 {
		if n := l.put(out); n < len(out) {
			tellLost(out, spans, n)
		}
	}
	l.spare, l.spareSpans = out, spans
	if cap(out) > 8*accessFlushAt {
		l.spare, l.spareSpans = nil, nil
	}
	clear(l.spareSpans) // who has ended is not held on to
}

// put writes a batch and returns how many bytes of it were.
func (l *AccessLog) put(b []byte) int {
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
		return len(b)
	}
	n = min(max(n, 0), len(b))
	l.torn = l.torn || n > 0 && b[n-1] != '\n'
	if !l.failed {
		l.failed = true
		l.log.Error("the access log cannot be written; lines are lost and counted, traffic goes on", "error", err)
	}
	return n
}

// tellLost tells each server how many of its lines in a batch were not written, of which
// n bytes were.
func tellLost(b []byte, spans []span, n int) {
	begin := 0
	for _, s := range spans {
		if s.end > n {
			s.of.lost(int64(bytes.Count(b[max(begin, n):s.end], []byte("\n"))))
		}
		begin = s.end
	}
}
