package cidr

import (
	"net/netip"

	"go4.org/netipx"
)

var (
	all4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	all6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
)

// IPSet is the list's addresses as a netipx set.
func (l List) IPSet() *netipx.IPSet {
	var b netipx.IPSetBuilder
	if l.All {
		b.AddPrefix(all4)
		b.AddPrefix(all6)
	}
	for _, p := range l.Prefixes {
		b.AddPrefix(p)
	}
	set, err := b.IPSet()
	if err != nil { // only for an invalid prefix, which no List holds
		panic("cidr: invalid prefix in a list: " + err.Error())
	}
	return set
}

// Merge is every address of any of the lists, in the fewest ranges, sorted, IPv4
// first. Lists that together hold every address merge to "*".
//
//	10.0.0.0/25   [----]
//	10.0.0.128/25       [----]
//	10.0.0.7/32     |
//	merged        [---------]   10.0.0.0/24
func Merge(lists ...List) List {
	var b netipx.IPSetBuilder
	for _, l := range lists {
		b.AddSet(l.IPSet())
	}
	return fromBuilder(&b)
}

// Subtract is every address of from that is not in remove, in the fewest ranges.
//
//	from    10.0.0.0/24    [---------]
//	remove  10.0.0.128/25       [----]
//	left    10.0.0.0/25    [----]
func Subtract(from, remove List) List {
	var b netipx.IPSetBuilder
	b.AddSet(from.IPSet())
	b.RemoveSet(remove.IPSet())
	return fromBuilder(&b)
}

// Merged is the list in its canonical form: see Merge.
func (l List) Merged() List { return Merge(l) }

// Ranges4 and Ranges6 are the list's addresses of one family as sorted ranges
// that neither overlap nor touch, the form a kernel's interval set wants.
func (l List) Ranges4() []netipx.IPRange { return l.ranges(netip.Addr.Is4) }

// Ranges6 is Ranges4 for IPv6.
func (l List) Ranges6() []netipx.IPRange { return l.ranges(netip.Addr.Is6) }

func (l List) ranges(family func(netip.Addr) bool) []netipx.IPRange {
	var out []netipx.IPRange
	for _, r := range l.IPSet().Ranges() {
		if family(r.From()) {
			out = append(out, r)
		}
	}
	return out
}

func fromBuilder(b *netipx.IPSetBuilder) List {
	set, err := b.IPSet()
	if err != nil { // only for an invalid prefix, which no List holds
		panic("cidr: invalid prefix in a list: " + err.Error())
	}
	prefixes := set.Prefixes()
	if len(prefixes) == 2 && prefixes[0] == all4 && prefixes[1] == all6 {
		return Everything()
	}
	return List{Prefixes: prefixes}
}
