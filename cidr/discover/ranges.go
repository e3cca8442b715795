package discover

import (
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/cidr"
)

// Of keeps the findings of some kinds.
func (f Findings) Of(kinds ...Kind) Findings {
	return slices.DeleteFunc(slices.Clone(f), func(x Finding) bool { return !slices.Contains(kinds, x.Kind) })
}

// Ranges are the findings in the fewest ranges.
func (f Findings) Ranges() cidr.List {
	var all []netip.Prefix
	for _, x := range f {
		all = append(all, x.Prefix)
	}
	return cidr.Of(all...).Merged()
}

// Join says that several findings came to one range.
type Join struct {
	Range netip.Prefix
	Of    []netip.Prefix // two or more, in order
}

// Joins are the ranges of Ranges that nobody wrote so, or that others lie in.
func (f Findings) Joins() []Join {
	var out []Join
	merged := f.Ranges()
	for _, p := range merged.Prefixes {
		var of []netip.Prefix
		for _, x := range f {
			if p.Overlaps(x.Prefix) && !slices.Contains(of, x.Prefix) {
				of = append(of, x.Prefix)
			}
		}
		if len(of) > 1 {
			slices.SortFunc(of, netip.Prefix.Compare)
			out = append(out, Join{p, of})
		}
	}
	return out
}
