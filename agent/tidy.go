package agent

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
)

// A burst is so many actions, not counting those that are done all the time; after it,
// when there was none for a while, memory that was wanted on the way is given back: what
// 500 pods need to be enrolled is more than what they need to be served, and Go would
// keep it for minutes. The program's own start is such a burst. So is, now and then, what traffic and the looking after rules
// leave behind.
const (
	burst      = 16
	quietAfter = 10 * time.Second
	spareBytes = 6 << 20 // free in this process, and worth being given back
	spareEvery = 2 * quietAfter
)

// How much garbage there may be before it is collected, in percent of what is in use. An
// idle agent with hundreds of pods is mostly that, and what carries bytes allocates hardly
// anything; but in a burst the collections would take half of the time.
const (
	garbage        = 30
	garbageInBurst = 150
)

// tidier looks after what memory the process has.
type tidier struct {
	collects bool // decides how often garbage is collected
	begun    atomic.Int64
	underWay atomic.Int64
	inBurst  atomic.Bool
}

// begin notes an action, and what it returns that it has ended.
func (t *tidier) begin(a core.PodAction) (end func()) {
	switch a.(type) {
	case core.Check, core.Beat:
		return func() {}
	}
	t.begun.Add(1)
	if t.underWay.Add(1) >= burst && !t.inBurst.Swap(true) {
		t.collect(garbageInBurst)
	}
	return func() { t.underWay.Add(-1) }
}

func (t *tidier) collect(percent int) {
	if t.collects {
		debug.SetGCPercent(percent)
	}
}

func (t *tidier) run(ctx context.Context) {
	t.collect(garbage)
	tick := time.NewTicker(quietAfter)
	defer tick.Stop()
	last, tidied, at := int64(0), int64(-burst), time.Now() // the start is a burst
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := t.begun.Load()
		quiet := now-last < burst
		if quiet && t.inBurst.Swap(false) {
			t.collect(garbage)
		}
		if quiet && now-tidied >= burst || time.Since(at) >= spareEvery && spare() >= spareBytes {
			debug.FreeOSMemory()
			forgetProgram()
			tidied, at = now, time.Now()
		}
		last = now
	}
}

// spare is how many bytes of memory this process has and does not use.
func spare() uint64 {
	free := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(free)
	if free[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return free[0].Value.Uint64()
}
