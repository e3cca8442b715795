package nft_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// The library does not read back the expression that asks a socket for its cgroup.
func TestRulesByCgroupPassCheck(t *testing.T) {
	t.Parallel()
	if !rulestest.MakeCgroups(t) {
		labtest.NeedsOtherUsers(t)
	}
	ns, c := labtest.New(t), rules.Default()
	c.Exemption, c.ExemptCgroups = rules.ExemptByCgroup, rules.Cgroups{fmt.Sprintf("/sluice-oracle-%d/a", os.Getpid())}
	plan, err := rules.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := nft.Apply(ns.FD(), plan); err != nil {
		t.Fatal(err)
	}
	if err := nft.Check(ns.FD(), plan); err != nil {
		t.Error(err)
	}
}
