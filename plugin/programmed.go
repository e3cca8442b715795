package plugin

import (
	"errors"
	"fmt"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/backend"
)

// Which backend holds a namespace's rules is found by looking: the configuration
// may have been another when they were made, and auto may choose another by now.

// apply puts the plan in and says which backend took it when that is not the first
// choice, and what that one cannot hold.
func (v *verbs) apply(netnsFD int, plan rules.Plan) error {
	b, why, err := backend.Apply(plan.Config.Backend, netnsFD, plan)
	if err != nil {
		return err
	}
	if b.Name() != rules.BackendNFT {
		v.logf("rules are in %s", why)
	}
	limits, err := b.Limitations(netnsFD, plan)
	if err != nil {
		v.logf("cannot say what %s does not hold: %v", b.Name(), err) // the rules are in all the same
	}
	for _, w := range limits {
		v.logf("warning: %s", w)
	}
	return nil
}

// refresh extends the rules, whoever holds them, to interfaces that came later.
func refresh(netnsFD int) error {
	found, err := backend.Installed(netnsFD)
	errs := []error{err}
	for _, b := range found {
		errs = append(errs, b.Refresh(netnsFD))
	}
	return errors.Join(errs...)
}

// compare looks whether the plan's rules are there, in the backend that the
// configuration names and in no other.
func compare(netnsFD int, plan rules.Plan) error {
	found, err := backend.Installed(netnsFD)
	if err != nil {
		return err
	}
	want := plan.Config.Backend
	if len(found) == 0 {
		b, _, err := backend.Choose(want)
		if err != nil {
			return err
		}
		return b.Check(netnsFD, plan) // says best what is missing
	}
	if len(found) > 1 {
		return rules.Drift{fmt.Sprintf("rules are in %s and in %s; another ADD leaves one of them", found[0].Name(), found[1].Name())}
	}
	if name := found[0].Name(); want != rules.BackendAuto && name != want {
		return rules.Drift{fmt.Sprintf("rules are in %s; the configuration says backend %s", name, want)}
	}
	return found[0].Check(netnsFD, plan)
}

// storedConfig is what the namespace's rules were made from; false for no rules.
func storedConfig(netnsFD int) (rules.Config, bool, error) {
	found, err := backend.Installed(netnsFD)
	if err != nil || len(found) == 0 {
		return rules.Config{}, false, err
	}
	return found[0].Stored(netnsFD)
}
