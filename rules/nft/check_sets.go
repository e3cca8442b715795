package nft

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/rules"
)

func setDifferences(c *nftables.Conn, t *nftables.Table, want tableLayout, cgroups cgroupIDs, found *drift) error {
	all, err := c.GetSets(t)
	if err != nil {
		return err
	}
	have := map[string]*nftables.Set{}
	for _, s := range all {
		have[s.Name] = s
	}
	for _, w := range want.sets {
		h := have[w.Name]
		delete(have, w.Name)
		switch {
		case h == nil:
			found.inStructure("set " + w.Name + ": missing")
			continue
		case !sameType(h, w):
			found.inStructure("set " + w.Name + ": has another type")
			continue
		case w.Dynamic, w.Open && want.agents == nil:
			continue // its elements come and go
		}
		members, err := c.GetSetElements(h)
		if err != nil {
			return err
		}
		if what := elementDifference(w.Type, elements(w, cgroups), members); what != "" {
			found.sets = append(found.sets, w.Name)
			found.sentences = append(found.sentences, "set "+w.Name+": "+what)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if !have[name].Anonymous {
			found.inStructure("set " + name + ": not sluice's")
		}
	}
	return nil
}

// sameType compares what a set holds and how: one whose elements may have a timeout loses
// them without anybody's doing.
func sameType(have *nftables.Set, want rules.Set) bool {
	return have.KeyType.Name == keyTypes[want.Type].Name && have.Interval == want.Interval() &&
		have.Dynamic == want.Dynamic && have.HasTimeout == want.Dynamic
}

// elementDifference compares elements in any order: the kernel gives them back in
// its own.
func elementDifference(t rules.SetType, want, have []nftables.SetElement) string {
	w, h := sortedElements(want), sortedElements(have)
	if slices.EqualFunc(w, h, func(a, b nftables.SetElement) bool { return CompareElements(a, b) == 0 }) {
		return ""
	}
	missing := firstOnlyIn(t, w, h)
	extra := firstOnlyIn(t, h, w)
	switch {
	case missing != "" && extra != "":
		return fmt.Sprintf("its elements were changed (%s is gone, %s is new)", missing, extra)
	case missing != "":
		return fmt.Sprintf("elements are missing (%s)", missing)
	}
	return fmt.Sprintf("holds elements that are not sluice's (%s)", extra)
}

func sortedElements(elements []nftables.SetElement) []nftables.SetElement {
	return slices.SortedFunc(slices.Values(elements), CompareElements)
}

// CompareElements orders a set's elements by their keys. Where one range ends and the
// next begins, the beginning is the later one: it counts.
func CompareElements(a, b nftables.SetElement) int {
	if c := bytes.Compare(a.Key, b.Key); c != 0 {
		return c
	}
	switch {
	case a.IntervalEnd == b.IntervalEnd:
		return 0
	case a.IntervalEnd:
		return -1
	}
	return 1
}

// firstOnlyIn names an element that a has and b has not; both are sorted. Where a
// range begins says more than where one ends: the kernel makes an end of its own
// before the first range.
func firstOnlyIn(t rules.SetType, a, b []nftables.SetElement) string {
	end := ""
	for _, e := range a {
		_, found := slices.BinarySearchFunc(b, e, CompareElements)
		switch {
		case found:
		case !e.IntervalEnd:
			return elementText(t, e)
		case end == "":
			end = elementText(t, e)
		}
	}
	return end
}
