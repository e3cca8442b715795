package explain

import (
	"errors"
	"fmt"
	"os"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/backend"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/trace"
)

// askKernel reads the namespace's rules and, unless there is one already, the
// configuration that is kept with them.
func (a *Answer) askKernel(ns *os.File) error {
	found, err := backend.Installed(int(ns.Fd()))
	if err != nil {
		return err
	}
	a.Asked, a.Kernel = true, trace.Result{Fate: trace.Passes}
	if len(found) == 0 {
		a.Notes = append(a.Notes, "the namespace has no rules of sluice's")
		return nil
	}
	if len(found) > 1 {
		return fmt.Errorf("namespace %q: has rules of several backends: %s; 'sluice rules apply' leaves those of one", ns.Name(), backend.Names(found))
	}
	b := found[0]
	a.Backend = b.Name()
	stored, there, err := b.Stored(int(ns.Fd()))
	switch {
	case err != nil:
		a.Notes = append(a.Notes, err.Error())
	case there && a.Config == nil:
		a.Config, a.Source = &stored, "kept with the rules"
	}
	if a.Kernel, err = a.walk(ns, b); err != nil {
		return err
	}
	a.compare(ns, b)
	return nil
}

func (a *Answer) walk(ns *os.File, b backend.Backend) (trace.Result, error) {
	if b.Name() != rules.BackendNFT {
		return trace.IPTables(int(ns.Fd()), b.Name(), a.Flow)
	}
	var cgroups []uint64
	if a.Flow.Cgroup != "" {
		var err error
		if cgroups, err = nft.CgroupIDs(a.Flow.Cgroup); err != nil {
			return trace.Result{}, fmt.Errorf("cgroup %q: %w", a.Flow.Cgroup, err)
		}
	}
	return trace.NFT(int(ns.Fd()), a.Flow, cgroups)
}

// compare adds what Check says to a disagreement.
func (a *Answer) compare(ns *os.File, b backend.Backend) {
	a.decide()
	if a.Config == nil || a.Agree() {
		return
	}
	plan, err := rules.NewPlan(*a.Config)
	if err == nil {
		err = b.Check(int(ns.Fd()), plan)
	}
	var drift rules.Drift
	switch {
	case errors.As(err, &drift):
		a.Notes = append(a.Notes, drift...)
	case err != nil:
		a.Notes = append(a.Notes, err.Error())
	}
}
