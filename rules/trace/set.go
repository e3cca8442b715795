package trace

import (
	"bytes"
	"slices"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/rules/nft"
)

// set is a set's elements as the kernel gave them, sorted. In a set of intervals an
// element begins a range, and one that says so ends it, exclusively.
type set struct {
	intervals bool
	cgroups   bool
	width     int
	elements  []nftables.SetElement
}

func newSet(intervals bool, elements []nftables.SetElement) set {
	s := set{intervals: intervals, elements: slices.Clone(elements)}
	for _, e := range elements {
		s.width = max(s.width, len(e.Key))
	}
	slices.SortFunc(s.elements, nft.CompareElements)
	return s
}

func (s set) holds(value []byte) bool {
	if len(s.elements) == 0 {
		return false
	}
	after, _ := slices.BinarySearchFunc(s.elements, value, func(e nftables.SetElement, v []byte) int {
		if bytes.Compare(e.Key, v) <= 0 {
			return -1
		}
		return 1
	})
	if after == 0 {
		return false
	}
	last := s.elements[after-1]
	if s.intervals {
		return !last.IntervalEnd
	}
	return bytes.Equal(last.Key, value)
}
