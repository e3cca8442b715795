package agent

import (
	"sync/atomic"

	"github.com/sluice-cni/sluice/agent/core"
)

// counts are of actions, for metrics.
type counts struct {
	done   [core.Kinds]struct{ fine, failed atomic.Int64 }
	drifts atomic.Int64
}

func (c *counts) ended(d core.Done) {
	k := core.KindOf(d.Action)
	if d.Err != nil {
		if !expected(d.Err) {
			c.done[k].failed.Add(1)
		}
		return
	}
	c.done[k].fine.Add(1)
	if d.Drift != "" {
		c.drifts.Add(1)
	}
}
