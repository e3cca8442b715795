package pods

import (
	"context"
	"fmt"

	"github.com/sluice-cni/sluice/agent/core"
)

// Kernel does what the core decides: one method for each action about a pod. Actions of
// different pods come at the same time, those of one pod one after the other. A method
// returns when its action is done, in error too: core.ErrNoRules, ErrOtherRules and
// ErrGone are those that the core knows. Host is the real one, Fake one for tests.
type Kernel interface {
	OpenAndHold(context.Context, core.OpenAndHold) (Opened, error)
	Keep(context.Context, core.Keep) error
	Exempt(context.Context, core.Exempt) error
	Start(context.Context, core.Start) error
	Follow(context.Context, core.Follow) error
	ReadBack(context.Context, core.ReadBack) (core.Rules, error)
	Apply(context.Context, core.Apply) error
	ReplaceSets(context.Context, core.ReplaceSets) error
	Beat(context.Context, core.Beat) error
	Check(context.Context, core.Check) (drift string, err error)
	Disable(context.Context, core.Disable) error
	Remove(context.Context, core.Remove) error
	// Stop with a drain returns when it has begun; the channel is closed when it has
	// ended. Without one there is no channel.
	Stop(context.Context, core.Stop) (drained <-chan struct{}, err error)
	Release(context.Context, core.Release) error
}

// Opened is what OpenAndHold made.
type Opened struct {
	Files core.Files
	Ports core.Ports
	Mark  uint32
}

// Perform has k do an action, and says how it went in the core's words. drained, if it
// is not nil, is closed when what a Stop left open has ended.
func Perform(ctx context.Context, k Kernel, a core.PodAction) (done core.Done, drained <-chan struct{}) {
	done.Action = a
	switch a := a.(type) {
	case core.OpenAndHold:
		var o Opened
		o, done.Err = k.OpenAndHold(ctx, a)
		done.Files, done.Ports, done.Mark = o.Files, o.Ports, o.Mark
	case core.Keep:
		done.Err = k.Keep(ctx, a)
	case core.Exempt:
		done.Err = k.Exempt(ctx, a)
	case core.Start:
		done.Err = k.Start(ctx, a)
	case core.Follow:
		done.Err = k.Follow(ctx, a)
	case core.ReadBack:
		done.Rules, done.Err = k.ReadBack(ctx, a)
	case core.Apply:
		done.Err = k.Apply(ctx, a)
	case core.ReplaceSets:
		done.Err = k.ReplaceSets(ctx, a)
	case core.Beat:
		done.Err = k.Beat(ctx, a)
	case core.Check:
		done.Drift, done.Err = k.Check(ctx, a)
	case core.Disable:
		done.Err = k.Disable(ctx, a)
	case core.Remove:
		done.Err = k.Remove(ctx, a)
	case core.Stop:
		drained, done.Err = k.Stop(ctx, a)
	case core.Release:
		done.Err = k.Release(ctx, a)
	default:
		done.Err = fmt.Errorf("an action that nobody here performs: %T", a)
	}
	return done, drained
}
