package agent

import (
	"sync/atomic"

	"github.com/sluice-cni/sluice/agent/core"
)

// counts are of actions, for metrics and for tidy.
type counts struct {
	started atomic.Int64 // pods that came to be served
	done    [core.Kinds]struct{ fine, failed atomic.Int64 }
	drifts  atomic.Int64
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
	if _, started := d.Action.(core.Start); started {
		c.started.Add(1)
	}
	if d.Drift != "" {
		c.drifts.Add(1)
	}
}
