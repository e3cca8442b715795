package install

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

// Bounds on waiting for the runtime to read its directory again.
const (
	loadLimit    = 10 * time.Second
	loadInterval = 200 * time.Millisecond
	// blindWait is how long a runtime that cannot be asked is given.
	blindWait = 5 * time.Second
	// lookAgain is how many times a file is read that is being written.
	lookAgain = 5
)

// An Installer keeps our entry in one conf dir. Its methods are for one goroutine.
type Installer struct {
	Options
	dir      string // the conf dir behind links
	readsIt  bool   // what the runtime last said of files beside lists
	versions string // and how it called itself
	loadedIt bool   // the runtime was seen to use the entry since the last change
	fights   fights
	was      bool // the entry was in place when last looked
	lease    *lease
	handsOff string // why this one is not in charge, as was last said
}

// New makes an Installer for a conf dir that exists.
func New(o Options) (*Installer, error) {
	dir, err := filepath.EvalSymlinks(o.ConfDir)
	if err != nil {
		return nil, fmt.Errorf("directory %q: cannot be opened: %w; name the runtime's with --conf-dir", o.ConfDir, err)
	}
	if kind, err := kindOf(o.Entry); err != nil || kind != pluginType {
		return nil, fmt.Errorf("entry: field \"type\": value %q: must be %q", kind, pluginType)
	}
	if o.Mode == "" {
		o.Mode = Auto
	}
	if o.Name == "" {
		o.Name = "process " + rand.Text()
	}
	return &Installer{Options: o, dir: dir}, nil
}

// Leaver is New for Remove alone: where there is no conf dir, no entry is in it.
func Leaver(o Options) (*Installer, error) {
	i, err := New(o)
	if errors.Is(err, fs.ErrNotExist) {
		return &Installer{Options: o, dir: o.ConfDir}, nil
	}
	return i, err
}

// Plan is what Ensure would do now, and the mode with its reason.
func (i *Installer) Plan(ctx context.Context) ([]Step, string, error) {
	steps, c, err := i.plan(ctx)
	return steps, fmt.Sprintf("mode %s: %s", c.mode, c.why), err
}

func (i *Installer) plan(ctx context.Context) ([]Step, choice, error) {
	d, err := look(i.dir)
	if err != nil {
		return nil, choice{}, err
	}
	dropIns, because := i.ask(ctx)
	c, err := choose(d, i.Mode, dropIns, because)
	if err != nil {
		return vanished(d, err), c, fmt.Errorf("directory %q: %w", i.ConfDir, err)
	}
	steps, err := c.steps(d, i.Entry)
	return steps, c, err
}

// ask finds out whether the runtime reads files beside lists. A runtime that is
// away keeps its last answer.
func (i *Installer) ask(ctx context.Context) (bool, string) {
	if i.Mode != Auto {
		return false, ""
	}
	if i.Runtime != nil {
		name, version, err := i.Runtime.Version(ctx)
		if err == nil {
			i.readsIt, i.versions = readsDropIns(name, version), name+" "+version
		} else if i.versions == "" {
			return false, "the runtime did not say what it is: " + err.Error()
		}
	}
	switch {
	case i.versions == "":
		return false, "nobody said what the runtime is (--cri)"
	case i.readsIt:
		return true, i.versions + " reads files beside a list"
	}
	return false, i.versions + " reads no files beside a list"
}

// Ensure puts the entry in place where it is not, and says which files it changed.
// The next Ensure completes one that failed or was killed half-way.
func (i *Installer) Ensure(ctx context.Context) ([]Step, error) {
	if err := sweep(i.dir); err != nil {
		return nil, err
	}
	steps, err := i.change(func() ([]Step, error) {
		steps, _, err := i.plan(ctx)
		return steps, err
	})
	if len(steps) > 0 {
		i.loadedIt = false
	}
	if err == nil && !i.loadedIt && i.Runtime != nil {
		err = i.loaded(ctx)
		i.loadedIt = err == nil
	}
	return steps, err
}

// change makes the steps, and those of another look where somebody wrote a file between
// the look and the change: what they wrote is not lost.
func (i *Installer) change(plan func() ([]Step, error)) (done []Step, err error) {
	for range lookAgain {
		var steps []Step
		steps, err = plan()
		for _, s := range steps {
			if failed := apply(i.dir, s); failed != nil {
				err = failed
				break
			}
			done = append(done, s)
			i.Log.Info("network configuration", "step", s.String())
		}
		if !errors.Is(err, errChanged) {
			break
		}
	}
	return done, err
}

// loaded waits until the runtime uses the entry. One that missed the change is shown
// another, of no file of others.
func (i *Installer) loaded(ctx context.Context) error {
	there, err := i.waitFor(ctx, true)
	if there || err != nil {
		return err
	}
	if err := nudge(i.dir); err != nil {
		return err
	}
	if there, err = i.waitFor(ctx, true); there || err != nil {
		return err
	}
	return fmt.Errorf("directory %q: has the entry, but the runtime did not load it in %v; is it the directory that the runtime reads (--conf-dir)?", i.ConfDir, 2*loadLimit)
}

// waitFor waits until the runtime's configuration has our entry, or has it no more,
// for at most loadLimit. It is true when nothing can be known.
func (i *Installer) waitFor(ctx context.Context, there bool) (bool, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, loadLimit, errPatience)
	defer cancel()
	tick := time.NewTicker(loadInterval)
	defer tick.Stop()
	for {
		conf, err := i.Runtime.NetworkConfig(ctx)
		switch {
		case err == nil && conf == nil:
			return true, nil
		case err == nil && bytes.Contains(conf, []byte(pluginType)) == there:
			return true, nil
		}
		// Whoever undoes it meanwhile would have it waited for in vain.
		if steps, _, err := i.plan(ctx); there && err == nil && len(steps) > 0 {
			return false, errUndone
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if context.Cause(ctx) == errPatience {
				return false, nil
			}
			return false, context.Cause(ctx)
		}
	}
}
