package agent

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A burst is that many pods; after it, when no more come for a while, memory that was
// wanted on the way is given back: what 500 pods need to be enrolled is more than what
// they need to be served, and Go would keep it for minutes. So is, now and then, what
// traffic and the looking after rules leave behind.
const (
	burst      = 16
	quietAfter = 10 * time.Second
	spareBytes = 8 << 20 // free in this process, and worth being given back
	spareEvery = time.Minute
)

func (a *Agent) tidy(ctx context.Context) {
	t := time.NewTicker(quietAfter)
	defer t.Stop()
	last, tidied, at := int64(0), int64(0), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := a.counts.started.Load()
		quiet := now == last
		if quiet && now-tidied >= burst || time.Since(at) >= spareEvery && spare() >= spareBytes {
			debug.FreeOSMemory()
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
