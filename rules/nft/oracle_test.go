package nft_test

import (
	"errors"
	"testing"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

func TestTheKernelDecidesAsDecideDoes(t *testing.T) {
	t.Parallel()
	rulestest.Run(t, applyThenExempt, rulestest.ByCgroup)
}

func TestWithoutAnyOneRuleTheKernelDecidesOtherwise(t *testing.T) {
	t.Parallel()
	rulestest.Mutate(t, nft.Apply, rulestest.ByCgroup)
}

// applyThenExempt exempts the agents as agents do, or with the plan. Which of the two
// depends on the configuration, so a seed does the same again.
func applyThenExempt(netnsFD int, p rules.Plan) error {
	if p.Agents == nil || p.Hash[0]%2 == 0 {
		return nft.Apply(netnsFD, p)
	}
	without, err := rules.NewPlan(p.Config, rules.NodeMode())
	if err != nil {
		return err
	}
	return errors.Join(nft.Apply(netnsFD, without), nft.Exempt(netnsFD, *p.Agents))
}
