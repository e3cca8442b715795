package iptables_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// BenchmarkApply programs a fresh namespace, the nft backend beside both variants.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1, 1000, 10000} {
		p := manyRanges(b, n)
		for name, apply := range backends(b) {
			b.Run(fmt.Sprintf("%s/ranges=%d", name, n), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					ns := labtest.New(b)
					b.StartTimer()
					if err := apply(ns.FD(), p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func manyRanges(b *testing.B, n int) rules.Plan {
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
	return p
}

func backends(b *testing.B) map[string]rulestest.Apply {
	return map[string]rulestest.Apply{
		"nft":             nft.Apply,
		"iptables-nft":    find(b, iptables.NFT).Apply,
		"iptables-legacy": find(b, iptables.Legacy).Apply,
	}
}

// BenchmarkTheRest is what a namespace costs after it was programmed.
func BenchmarkTheRest(b *testing.B) {
	p := manyRanges(b, 10)
	for _, v := range []iptables.Variant{iptables.NFT, iptables.Legacy} {
		fw := find(b, v)
		ns := labtest.New(b)
		apply(b, fw, ns, p)
		b.Run(string(v)+"/Check", func(b *testing.B) {
			for b.Loop() {
				if err := fw.Check(ns.FD(), p); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(string(v)+"/Applied", func(b *testing.B) {
			for b.Loop() {
				if _, err := fw.Applied(ns.FD()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(string(v)+"/Remove", func(b *testing.B) {
			for b.Loop() {
				if err := fw.Remove(ns.FD()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				apply(b, fw, ns, p)
				b.StartTimer()
			}
		})
		b.Run(string(v)+"/Find", func(b *testing.B) {
			for b.Loop() {
				find(b, v)
			}
		})
		b.Run(string(v)+"/Probe", func(b *testing.B) {
			for b.Loop() {
				if err := fw.Probe(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
