package nft_test

import (
	"testing"

	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

func TestTheKernelDecidesAsDecideDoes(t *testing.T) {
	t.Parallel()
	rulestest.Run(t, nft.Apply)
}

func TestWithoutAnyOneRuleTheKernelDecidesOtherwise(t *testing.T) {
	t.Parallel()
	rulestest.Mutate(t, nft.Apply)
}
