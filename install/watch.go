package install

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Bounds of watching.
const (
	// resync is how often a directory is looked at of which nothing is heard.
	resync = 30 * time.Second
	// settle is how long a directory must be quiet: who writes it in several steps
	// is not answered in the middle.
	settle = 100 * time.Millisecond
	// soon is when to look after the entry went while the runtime was waited for.
	soon = settle
)

// Watch keeps the entry in place until ctx ends, and changes nothing then: an
// upgrade leaves everything where it is. It does so as long as the lease is its own, and
// looks again and again whether it is. changed has a value whenever something
// happened in the directory; it may be nil. The first look is at once; ready is
// called after the first that succeeds.
func (i *Installer) Watch(ctx context.Context, changed <-chan struct{}, ready func()) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer i.endLease()
	held := false // the entry is left as it is, for a fight
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case _, more := <-changed:
			if !more {
				changed = nil
			}
			if !held {
				timer.Reset(settle)
			}
			continue
		case <-timer.C:
		}
		var wait time.Duration
		charge, err := i.inCharge(ctx, func() (err error) {
			wait, err = i.look(ctx, held)
			held = wait > 0 && err != nil
			if i.Program != nil {
				err = errors.Join(err, i.Program(ctx))
			}
			if err == nil && wait == 0 && i.lease != nil {
				err = i.lease.noteInstalled()
			}
			return err
		})
		text := ""
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			text = err.Error()
			if text != said { // once, not every half minute
				i.Log.Error("network configuration", "error", err)
			}
		case charge && !held && ready != nil:
			ready()
			ready = nil
		}
		if said != "" && text == "" {
			i.Log.Info("network configuration", "is", "as it should be again")
		}
		said = text
		if wait == 0 {
			wait = resync
		}
		timer.Reset(wait)
	}
}

// look looks, and restores what somebody undid, unless that is a fight; then it
// says how long to wait, and why. after says that it was waited already.
func (i *Installer) look(ctx context.Context, after bool) (time.Duration, error) {
	steps, c, err := i.plan(ctx)
	if err != nil && !errors.Is(err, errNoNetwork) {
		return 0, err // perhaps somebody is in the middle of writing
	}
	undone := i.was && err == nil && len(steps) > 0
	if undone && after {
		i.fights.note(time.Now())
	} else if undone {
		if wait := i.fights.wait(time.Now()); wait > 0 {
			return wait, fmt.Errorf("somebody undoes %s: it was restored %d times within %v, and will be again only in %v; pods that start meanwhile are enrolled by the agent afterwards; %s",
				steps[0].Path, len(i.fights.restored), fightTime, wait, advice(c.list.owner()))
		}
	}
	if undone {
		i.Log.Warn("network configuration", "found", "the entry gone or changed; it is restored", "file", steps[0].Path, "owner", c.list.owner())
	}
	if errors.Is(err, errNoNetwork) { // it may come back with another name: that is no fight
		i.was = false
	}
	_, err = i.Ensure(ctx)
	if errors.Is(err, errUndone) {
		i.was = true
		return soon, nil
	}
	i.was = i.was || err == nil
	return 0, err
}

// inCharge calls do where this installer is in charge: nobody leaves meanwhile.
func (i *Installer) inCharge(ctx context.Context, do func() error) (is bool, err error) {
	if i.Lease == "" {
		return true, do()
	}
	if i.lease != nil && i.lease.gone() { // with its directory, say
		i.endLease()
	}
	if i.lease == nil {
		if i.lease, err = openLease(i.Lease, i.Name); err != nil {
			return false, err
		}
	}
	err = i.lease.pass(ctx, func() error {
		why, err := i.lease.enter()
		if why != i.handsOff && err == nil {
			i.handsOff = why
			if why == "" {
				why = "this installer keeps entry and binary from now on"
			}
			i.Log.Info("network configuration", "lease", why)
		}
		if err != nil || i.handsOff != "" {
			return err
		}
		is = true
		return do()
	})
	return is, err
}

// Charge calls do where this installer is in charge, before Watch: it holds the lease
// from then on.
func (i *Installer) Charge(ctx context.Context, do func() error) error {
	_, err := i.inCharge(ctx, do)
	return err
}

func (i *Installer) endLease() {
	if i.lease != nil {
		i.lease.close()
		i.lease = nil
	}
}
