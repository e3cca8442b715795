package iptables

import (
	"fmt"
	"os"
	"sync"

	"github.com/sluice-cni/sluice/rules"
)

// Apply makes the namespace's chains what the plan says, whatever was there: two
// commits or three for each family (see tableOrder). What is right already is left
// alone. Established connections stay as they are, redirected ones too: their NAT
// is conntrack's.
func (f *Firewall) Apply(netnsFD int, plan rules.Plan) error {
	want, err := rulesets(plan)
	if err != nil {
		return err
	}
	held, err := lock(netnsFD)
	if err != nil {
		return err
	}
	defer held.Close()
	have, err := f.readAll(netnsFD)
	if err != nil {
		return err
	}
	if !empty(have) {
		if found, err := f.differences(have, want); err == nil && len(found) == 0 {
			return nil
		}
	}
	return f.program(held, netnsFD, have, want, plan)
}

// program writes all families, one after the other.
func (f *Firewall) program(held *os.File, netnsFD int, have []state, want []ruleset, plan rules.Plan) error {
	return inside(netnsFD, func() error {
		for i, fam := range families() {
			if err := f.restore(held, fam, batch(have[i], want[i])); err != nil {
				return f.diagnose(fmt.Errorf("load the %s rules: %w", fam.name, err), netnsFD, plan)
			}
		}
		return nil
	})
}

func (f *Firewall) restore(held *os.File, fam family, input string) error {
	if input == "" {
		return nil
	}
	_, err := f.host.run(held, input, f.programs[fam].restore, "--noflush", "--wait", xtablesWait)
	return err
}

// rulesets is what each family should have, the record included.
func rulesets(plan rules.Plan) ([]ruleset, error) {
	r, err := newRecord(plan)
	if err != nil {
		return nil, err
	}
	var out []ruleset
	for _, fam := range families() {
		want, err := translate(plan, fam)
		if err != nil {
			return nil, err
		}
		nat := want.table("nat")
		nat.chains = append(nat.chains, r.chain())
		out = append(out, want)
	}
	return out, nil
}

// readAll reads all families' rules at once.
func (f *Firewall) readAll(netnsFD int) ([]state, error) {
	var out []state
	err := inside(netnsFD, func() (err error) {
		out, err = f.readHere()
		return err
	})
	return out, err
}

// readHere is readAll in the calling thread's namespace.
func (f *Firewall) readHere() ([]state, error) {
	var out []state
	for _, fam := range families() {
		s, err := f.read(fam)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func empty(states []state) bool {
	for _, s := range states {
		if !s.empty() {
			return false
		}
	}
	return true
}

// Disable ends capture and keeps connections: of our rules the record stays, with
// its anchor. No rules is success.
func (f *Firewall) Disable(netnsFD int) error {
	held, err := lock(netnsFD)
	if err != nil {
		return err
	}
	defer held.Close()
	have, err := f.readAll(netnsFD)
	if err != nil {
		return err
	}
	return inside(netnsFD, func() error {
		for i, fam := range families() {
			if err := f.restore(held, fam, batch(have[i], disabled(have[i]))); err != nil {
				return fmt.Errorf("empty the %s rules: %w", fam.name, err)
			}
		}
		return nil
	})
}

// disabled is the record alone. The filter is emptied before the redirects go, so
// what is no longer redirected is not refused; redirects to a proxy that is there
// do no harm meanwhile.
func disabled(have state) ruleset {
	r, found := recordIn(have)
	if !found {
		return ruleset{}
	}
	r.disabled = true
	return ruleset{"nat": {chains: []*chain{r.chain()}}}
}

// oncePerFamily runs f for all families at the same time, each on a thread of its
// own in a new namespace, and returns the first error.
func oncePerFamily(f func(i int, fam family) error) error {
	all := families()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, fam := range all {
		wg.Go(func() { errs[i] = inScratch(func() error { return f(i, fam) }) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
