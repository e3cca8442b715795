package nft

import (
	"errors"
	"os"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/record"
)

// Drift is what Check found to differ from the plan, one sentence each.
type Drift = rules.Drift

// Check compares the namespace's tables with the plan: every chain, set, element
// and rule. It changes nothing and ignores other tables. Whether the namespace was
// enrolled while running, and with which heartbeat, is taken from what was applied.
// Differences come as a Drift; any other error means that the comparison could not
// be made.
func Check(netnsFD int, plan rules.Plan) error {
	c, err := open(netnsFD)
	if err != nil {
		return err
	}
	defer closeLater(c)
	tables, err := installed(c)
	if err != nil {
		return err
	}
	if tables[0] == nil {
		return Drift{"table inet " + tableName + ": missing"}
	}
	applied, err := readRecord(c, tables[0])
	if err != nil {
		return err
	}
	if plan, err = asApplied(plan, applied.Applied); err != nil {
		return Drift{"table inet " + tableName + ": was applied with another failurePolicy"}
	}
	found, err := compare(c, netnsFD, tables, plan, applied)
	if err != nil {
		return explain("read the rules back", err)
	}
	if len(found) > 0 {
		return found
	}
	return nil
}

// asApplied is the plan with what only the record knows. In which mode it is, and
// who is exempt if it says so, stays the plan's word.
func asApplied(plan rules.Plan, applied Applied) (rules.Plan, error) {
	applied.Node = plan.Node
	options := applied.Options()
	if plan.Agents != nil {
		options = append(options, rules.Exempting(*plan.Agents))
	}
	return rules.NewPlan(plan.Config, options...)
}

func compare(c *nftables.Conn, netnsFD int, tables [2]*nftables.Table, plan rules.Plan, applied record.Record) (Drift, error) {
	known, err := resolve(plan)
	if errors.Is(err, os.ErrNotExist) {
		return Drift{"set exempt_cgroups: " + err.Error()}, nil
	} else if err != nil {
		return nil, err
	}
	present, err := interfacesOf(netnsFD)
	if err != nil {
		return nil, err
	}
	want, err := newRecord(plan, applied.Interfaces)
	if err != nil {
		return nil, err
	}
	want.WithoutFrames = applied.WithoutFrames
	layouts := layout(plan, want)
	layouts[1] = layouts[1].without(present)
	var out Drift
	if applied.Disabled {
		out = append(out, "capture is disabled")
	}
	for i, l := range layouts {
		switch {
		case tables[i] == nil && len(l.chains) > 0:
			out = append(out, l.String()+": missing")
		case tables[i] != nil && len(l.chains) == 0:
			out = append(out, l.String()+": not sluice's")
		case tables[i] != nil:
			found, err := differences(c, tables[i], l, known.ids)
			if err != nil {
				return nil, err
			}
			out = append(out, found.sentences...)
		}
	}
	return out, nil
}

// drift is how a table differs: in sentences, and in what it takes to mend it.
type drift struct {
	sentences []string
	structure bool     // chains, rules or sets themselves
	sets      []string // sets whose elements differ
	record    bool     // what chain applied says
	agents    bool     // rules in the agents' chain that are not theirs
	levels    bool     // rules of the agents that are missing
}

func differences(c *nftables.Conn, t *nftables.Table, want tableLayout, cgroups cgroupIDs) (drift, error) {
	var found drift
	if t.Flags != 0 {
		found.structure = true
		found.sentences = append(found.sentences, want.String()+": has flags (dormant?) and so may do nothing")
	}
	if err := setDifferences(c, t, want, cgroups, &found); err != nil {
		return found, err
	}
	err := chainDifferences(c, t, want, &found)
	return found, err
}
