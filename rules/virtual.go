package rules

import (
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/vip"
)

// VirtualRanges are where the DNS proxy's virtual addresses lie. They are included
// ranges whenever DNS is captured, whatever includeIPRanges says: an application
// that was answered with one can go nowhere else.
func VirtualRanges() cidr.List { return cidr.Of(vip.Range4, vip.Range6) }

// included is what the configuration includes: IncludeIPRanges as written, and the
// virtual ranges behind them.
func (c Config) included() cidr.List {
	if !c.DNSCapture || c.IncludeIPRanges.All {
		return c.IncludeIPRanges
	}
	return cidr.List{Prefixes: append(slices.Clip(c.IncludeIPRanges.Prefixes), VirtualRanges().Prefixes...)}
}

// includes is included().Contains(dst), without making the list.
func (c Config) includes(dst netip.Addr) bool {
	return c.IncludeIPRanges.Contains(dst) || c.DNSCapture && vip.Contains(dst)
}
