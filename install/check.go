package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Check says why new pods are not captured as this installer would have them be, nil when
// they are. It changes nothing and is no installer itself: a probe asks it beside the one of
// the same name that watches. Where a newer installer is in charge of the node, that one
// answers for it, and this is nil.
func (i *Installer) Check(ctx context.Context) error {
	newer, err := i.standing()
	if err != nil || newer {
		return err
	}
	steps, _, err := i.plan(ctx)
	if err != nil {
		return err
	}
	if len(steps) > 0 {
		return fmt.Errorf("directory %q: the entry is not in place: %s is left to do", i.ConfDir, steps[0])
	}
	if i.Program != nil {
		if err := i.Program(ctx); err != nil {
			return err
		}
	}
	if i.Runtime == nil {
		return nil
	}
	conf, err := i.Runtime.NetworkConfig(ctx)
	if err == nil && conf != nil && !bytes.Contains(conf, []byte(pluginType)) {
		err = fmt.Errorf("directory %q: has the entry, but the runtime does not use it; is it the directory that the runtime reads (--conf-dir)?", i.ConfDir)
	}
	return err
}

// standing says whether a newer installer is in charge. It is an error that none of this
// name has begun, and that sluice was uninstalled since.
func (i *Installer) standing() (newer bool, err error) {
	if i.Lease == "" {
		return false, nil
	}
	l, err := seeLease(i.Lease, i.Name)
	if err != nil {
		return false, err
	}
	defer l.close()
	lines, err := l.lines()
	if err != nil {
		return false, err
	}
	at := slices.Index(lines, l.name)
	switch {
	case at < 0:
		return false, errNoInstaller
	case slices.Contains(lines[at:], leavingLine):
		return false, errLeft
	}
	return l.locked(lineBytes + at + 1)
}

var errLeft = errors.New("the plugin was taken out of this node ('sluice uninstall'); an installer that begins anew, in another pod, puts it back")

// Installed says why the plugin in the bin dir is not the source, nil when it is.
func Installed(source, binDir string) error {
	from, err := os.Open(source)
	if err != nil {
		return fmt.Errorf("binary %q: cannot be read: %w", source, cause(err))
	}
	defer from.Close()
	target := filepath.Join(binDir, pluginType)
	equal, err := sameContent(from, target)
	if err == nil && !equal {
		err = fmt.Errorf("binary %q: is missing, or another than %s", target, source)
	}
	return err
}

// Brought says why the plugin that others put into the bin dir does nothing, nil when it
// does what it is for.
func Brought(binDir string) error {
	f, marked, err := brought(binDir)
	if err != nil {
		return err
	}
	defer f.Close()
	if marked {
		return fmt.Errorf("binary %q: an uninstall has retired it, so that it passes everything through", f.Name())
	}
	return nil
}
