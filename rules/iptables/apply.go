package iptables

import (
	"fmt"
	"os"
	"sync"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/record"
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
	return f.alone(netnsFD, func(held *os.File, have []state) error {
		if !empty(have) {
			if found, err := f.differences(have, want); err == nil && len(found) == 0 {
				return nil
			}
		}
		return f.program(held, netnsFD, have, want, plan)
	})
}

// alone has nobody else of ours change the namespace's rules while change does.
func (f *Firewall) alone(netnsFD int, change func(held *os.File, have []state) error) error {
	held, err := lock(netnsFD)
	if err != nil {
		return err
	}
	defer held.Close()
	have, err := f.readAll(netnsFD)
	if err != nil {
		return err
	}
	return change(held, have)
}

// each does the same to all families, one after the other, inside the namespace.
func each(netnsFD int, verb string, change func(i int, fam family) error) error {
	return inside(netnsFD, func() error {
		for i, fam := range families() {
			if err := change(i, fam); err != nil {
				return fmt.Errorf("%s the %s rules: %w", verb, fam.name, err)
			}
		}
		return nil
	})
}

// program writes all families, one after the other.
func (f *Firewall) program(held *os.File, netnsFD int, have []state, want []ruleset, plan rules.Plan) error {
	return each(netnsFD, "load", func(i int, fam family) error {
		err := f.restore(held, fam, batch(have[i], want[i]))
		if err != nil {
			err = f.diagnose(err, netnsFD, plan)
		}
		return err
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
	r, err := record.New(plan)
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
		nat.chains = append(nat.chains, recordChain(r))
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
	return f.alone(netnsFD, func(held *os.File, have []state) error {
		return each(netnsFD, "empty", func(i int, fam family) error {
			return f.restore(held, fam, batch(have[i], disabled(have[i])))
		})
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
	r.Disabled = true
	return ruleset{"nat": {chains: []*chain{recordChain(r)}}}
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
