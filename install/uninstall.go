package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/internal/rest"
)

// Leaving is what Remove would do.
func (i *Installer) Leaving() ([]Step, error) {
	d, err := look(i.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // the node's network is gone, and the entry with it
	}
	if err != nil {
		return nil, err
	}
	return removal(d), nil
}

// Leave is Remove for good: installers of this node that run, or that the kubelet starts
// again in their old pods, keep their hands off from then on. One that comes later, as
// with a new release, does not.
func (i *Installer) Leave(ctx context.Context) error {
	if err := i.tellLeaving(ctx); err != nil {
		return err
	}
	_, err := i.Remove(ctx)
	return err
}

func (i *Installer) tellLeaving(ctx context.Context) error {
	if _, err := os.Stat(i.Lease); i.Lease == "" || errors.Is(err, fs.ErrNotExist) {
		return nil // there was no installer that would have to know
	}
	ctx, cancel := context.WithTimeout(ctx, gateLimit)
	defer cancel()
	l, err := openLease(i.Lease, "")
	if err != nil {
		return err
	}
	defer l.close()
	return l.pass(ctx, l.leave)
}

// Remove takes our entry out of every file of the conf dir, and returns when the
// runtime uses it no more, or after 5 s where it cannot be asked.
func (i *Installer) Remove(ctx context.Context) ([]Step, error) {
	if err := sweep(i.dir); err != nil {
		return nil, err
	}
	steps, err := i.change(i.Leaving)
	if err != nil {
		return steps, err
	}
	return steps, i.unloaded(ctx, len(steps) > 0)
}

// unloaded waits until the runtime uses the entry no more, and looks whether somebody
// put it back meanwhile.
func (i *Installer) unloaded(ctx context.Context, changed bool) error {
	gone, err := true, error(nil)
	switch {
	case i.Runtime != nil:
		gone, err = i.waitFor(ctx, false)
	case changed:
		err = rest.For(ctx, blindWait)
	}
	if err != nil {
		return err
	}
	if back, err := i.Leaving(); err == nil && len(back) > 0 {
		return fmt.Errorf("directory %q: the entry is back in %s; %s", i.ConfDir, back[0].Path, remedy.Here().Say(remedy.Reinstalled))
	}
	if gone {
		return nil
	}
	if _, err := os.Stat(i.dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("directory %q: is not there, and the runtime still uses the entry after %v; name its directory with --conf-dir, or restart the runtime, then try again", i.ConfDir, loadLimit)
	}
	return fmt.Errorf("directory %q: is without the entry, but the runtime still uses it after %v; restart the runtime, then try again", i.ConfDir, loadLimit)
}
