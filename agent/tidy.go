package agent

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
)

// counts are of actions, for metrics and for tidy.
type counts struct {
	started atomic.Int64 // pods that came to be served
	done    [actionKinds]struct{ fine, failed atomic.Int64 }
	drifts  atomic.Int64
}

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

// The kinds of action that are told apart in metrics.
const (
	kindOpen = iota
	kindKeep
	kindExempt
	kindStart
	kindFollow
	kindRead
	kindApply
	kindReplace
	kindBeat
	kindCheck
	kindDisable
	kindRemove
	kindStop
	kindRelease
	kindOther
	actionKinds
)

var kindNames = [actionKinds]string{"open", "keep", "exempt", "start", "follow", "read", "apply", "replace-sets", "beat", "check", "disable", "remove", "stop", "release", "other"}

func kindOf(a core.PodAction) int {
	switch a.(type) {
	case core.OpenAndHold:
		return kindOpen
	case core.Keep:
		return kindKeep
	case core.Exempt:
		return kindExempt
	case core.Start:
		return kindStart
	case core.Follow:
		return kindFollow
	case core.ReadBack:
		return kindRead
	case core.Apply:
		return kindApply
	case core.ReplaceSets:
		return kindReplace
	case core.Beat:
		return kindBeat
	case core.Check:
		return kindCheck
	case core.Disable:
		return kindDisable
	case core.Remove:
		return kindRemove
	case core.Stop:
		return kindStop
	case core.Release:
		return kindRelease
	}
	return kindOther
}

func (c *counts) ended(d core.Done) {
	k := kindOf(d.Action)
	if d.Err != nil {
		if !expected(d.Err) {
			c.done[k].failed.Add(1)
		}
		return
	}
	c.done[k].fine.Add(1)
	switch {
	case k == kindStart:
		c.started.Add(1)
	case k == kindCheck && d.Drift != "":
		c.drifts.Add(1)
	}
}
