package nft_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
)

func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1, 1000, 10000} {
		var ranges []netip.Prefix
		for i := range n {
			ranges = append(ranges, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 25))
		}
		c := rules.Default()
		c.IncludeIPRanges = cidr.Of(ranges...)
		p, err := rules.NewPlan(c)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("ranges=%d", n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				ns := labtest.New(b)
				b.StartTimer()
				if err := nft.Apply(ns.FD(), p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
