package iptables_test

import (
	"testing"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// xt_owner takes ids that exist only, so an ordinary user's one is too few.
func TestTheKernelDecidesAsDecideDoes(t *testing.T) {
	labtest.NeedsOtherUsers(t)
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) { rulestest.Run(t, fw.Apply, rulestest.ByMark) })
}

func TestWithoutAnyOneRuleTheKernelDecidesOtherwise(t *testing.T) {
	labtest.NeedsOtherUsers(t)
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) { rulestest.Mutate(t, fw.Apply, rulestest.ByMark) })
}
