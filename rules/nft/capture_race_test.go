package nft_test

import (
	"errors"
	"testing"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// A connection's first packet may have gone by the redirects just before they are in force,
// and come to the second layer just after: a running pod's is not refused for that.
func TestAConnectionThatBeginsAsTheRulesComeIsNotRefused(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	port := rulestest.Echo(t, p.Server, ":0", "there")
	rulestest.Echo(t, p.Pod, ":15001", "proxy")
	plan := running(t)
	rulestest.Connecting(t, p.Pod, []string{"10.50.0.1:" + port, "[fd50::1]:" + port}, func() {
		for range 50 {
			apply(t, p.Pod, plan)
			if err := nft.Disable(p.Pod.FD()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestConnectionsThatBeginAsRulesChangeAreMade(t *testing.T) {
	t.Parallel()
	rulestest.ConnectionsBeginAsRulesChange(t, replaceSetsOrApply, 4)
}

// replaceSetsOrApply is how an agent changes a pod's rules.
func replaceSetsOrApply(fd int, plan rules.Plan) error {
	from, err := nft.Hash(fd)
	if err == nil {
		err = nft.ReplaceSets(fd, from, plan)
	}
	if errors.Is(err, nft.ErrOther) {
		return nft.Apply(fd, plan)
	}
	return err
}
