package pods

import (
	"context"
	"fmt"

	"github.com/sluice-cni/sluice/agent/core"
)

// Host does what the core decides, on this machine. Actions of different pods may come
// at the same time, those of one pod one after the other.
type Host struct {
	*sets    // what is open
	*keeper  // what opens it, and has the holder keep it
	*servers // what serves it
	common   *Common
}

// NewHost makes a Host without pods.
func NewHost(common *Common, holder Holder) *Host {
	sets := newSets()
	return &Host{sets: sets, keeper: &keeper{holder: holder, sets: sets}, servers: newServers(common, sets), common: common}
}

// Perform does an action, and says how it went in the core's words: of its errors the core
// knows core.ErrNoRules, ErrOtherRules and ErrGone. It returns when the action is done, for
// a Stop with a drain when that has begun: then drained is closed when it has ended.
func (h *Host) Perform(ctx context.Context, a core.PodAction) (done core.Done, drained <-chan struct{}) {
	done.Action = a
	switch a := a.(type) {
	case core.OpenAndHold:
		var o opened
		o, done.Err = h.open(ctx, a)
		done.Files, done.Ports, done.Mark = o.files, o.ports, o.mark
	case core.Keep:
		done.Err = h.keep(a)
	case core.Release:
		done.Err = h.release(a)
	case core.Start:
		done.Err = h.start(a)
	case core.Follow:
		h.follow(a)
	case core.Stop:
		drained = h.stop(a)
	case core.ReadBack:
		done.Rules, done.Err = h.readBack(a)
	case core.Check:
		done.Drift, done.Err = h.check(a)
	case core.Apply:
		done.Err = h.apply(a)
	case core.Exempt, core.ReplaceSets, core.Beat, core.Disable, core.Remove:
		done.Err = h.inside(a.At(), func(fd int) error { return change(fd, a) })
	default:
		done.Err = fmt.Errorf("an action that nobody here performs: %T", a)
	}
	return done, drained
}

// Close cuts and closes everything; for the end of the process, and of tests.
func (h *Host) Close() {
	h.cutAll()
	h.closeAll()
}
