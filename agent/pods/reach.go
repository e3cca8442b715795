package pods

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/netns"
)

// reach opens the namespace of a pod that an action is about: that of its files, or one
// that is found at its path or at a process. done closes what was opened.
func (a *sets) reach(t core.Target) (ns *netns.Namespace, done func(), err error) {
	if t.Files != 0 {
		s, err := a.set(t.Files)
		if err != nil {
			return nil, nil, err
		}
		return s.ns, func() {}, nil
	}
	ns, err = find(t)
	if err != nil {
		return nil, nil, err
	}
	return ns, func() { ns.Close() }, nil
}

// find opens a namespace by where it was seen. Another one may be there by now.
func find(t core.Target) (*netns.Namespace, error) {
	path := t.Path
	if path == "" {
		path = netns.PathOf(t.PID)
	}
	ns, err := netns.OpenPath(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, netns.ErrNotOne) {
		return nil, fmt.Errorf("%w: %w", core.ErrGone, err)
	}
	if err != nil {
		return nil, err
	}
	if ns.ID() != t.Pod {
		ns.Close()
		return nil, fmt.Errorf("%w: %s is %s by now", core.ErrGone, path, ns.ID())
	}
	return ns, nil
}

// inside calls f with the descriptor of the pod's namespace.
func (a *sets) inside(t core.Target, f func(fd int) error) error {
	ns, done, err := a.reach(t)
	if err != nil {
		return err
	}
	defer done()
	return ns.With(f)
}
