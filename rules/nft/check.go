package nft

import (
	"errors"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/rules"
)

// Drift is what Check found to differ from the plan, one sentence each.
type Drift []string

func (d Drift) Error() string { return strings.Join(d, "; ") }

// Check compares the namespace's table with the plan: every chain, set, element
// and rule. It changes nothing and ignores other tables. Differences come as a
// Drift; any other error means that the comparison could not be made.
func Check(netnsFD int, plan rules.Plan) error {
	c, err := open(netnsFD)
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	t, err := installed(c)
	if err != nil {
		return err
	}
	if t == nil {
		return Drift{"table inet " + tableName + ": missing"}
	}
	found, err := differences(c, t, plan)
	if err != nil {
		return explain("read the rules back", err)
	}
	if len(found) > 0 {
		return Drift(found)
	}
	return nil
}

// Applied reports the hash of the configuration a namespace's table was made
// from, "" when there is no table.
func Applied(netnsFD int) (string, error) {
	c, err := open(netnsFD)
	if err != nil {
		return "", err
	}
	defer c.CloseLasting()
	t, err := installed(c)
	if err != nil || t == nil {
		return "", err
	}
	found, err := c.GetRules(t, &nftables.Chain{Name: chainApplied})
	if err != nil {
		return "", explain("read the rules back", err)
	}
	for _, r := range found {
		if hash, ok := strings.CutPrefix(commentOf(r.UserData), hashPrefix); ok {
			return hash, nil
		}
	}
	return "", errors.New("table inet " + tableName + ": holds no configuration hash; it was changed or made by something else")
}

func differences(c *nftables.Conn, t *nftables.Table, plan rules.Plan) ([]string, error) {
	var found []string
	if t.Flags != 0 {
		found = append(found, "table inet "+tableName+": has flags (dormant?) and so may do nothing")
	}
	inSets, err := setDifferences(c, t, plan.Sets)
	if err != nil {
		return nil, err
	}
	inChains, err := chainDifferences(c, t, wholePlan(plan))
	if err != nil {
		return nil, err
	}
	return slices.Concat(found, inSets, inChains), nil
}
