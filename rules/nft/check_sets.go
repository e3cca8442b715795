package nft

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/rules"
)

func setDifferences(c *nftables.Conn, t *nftables.Table, want []rules.Set) ([]string, error) {
	all, err := c.GetSets(t)
	if err != nil {
		return nil, err
	}
	have := map[string]*nftables.Set{}
	for _, s := range all {
		have[s.Name] = s
	}
	var found []string
	for _, w := range want {
		h := have[w.Name]
		delete(have, w.Name)
		switch {
		case h == nil:
			found = append(found, "set "+w.Name+": missing")
			continue
		case h.KeyType.Name != keyTypes[w.Type].Name || h.Interval != w.Interval():
			found = append(found, "set "+w.Name+": has another type")
			continue
		}
		members, err := c.GetSetElements(h)
		if err != nil {
			return nil, err
		}
		if what := elementDifference(w, members); what != "" {
			found = append(found, "set "+w.Name+": "+what)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if !have[name].Anonymous {
			found = append(found, "set "+name+": not sluice's")
		}
	}
	return found, nil
}

// elementDifference compares elements in any order: the kernel gives them back in
// its own.
func elementDifference(want rules.Set, have []nftables.SetElement) string {
	w, h := sortedElements(elements(want)), sortedElements(have)
	if slices.EqualFunc(w, h, func(a, b nftables.SetElement) bool { return compareElements(a, b) == 0 }) {
		return ""
	}
	missing := firstOnlyIn(want.Type, w, h)
	extra := firstOnlyIn(want.Type, h, w)
	switch {
	case missing != "" && extra != "":
		return fmt.Sprintf("its elements were changed (%s is gone, %s is new)", missing, extra)
	case missing != "":
		return fmt.Sprintf("elements are missing (%s)", missing)
	}
	return fmt.Sprintf("holds elements that are not sluice's (%s)", extra)
}

func sortedElements(elements []nftables.SetElement) []nftables.SetElement {
	return slices.SortedFunc(slices.Values(elements), compareElements)
}

func compareElements(a, b nftables.SetElement) int {
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

// firstOnlyIn names an element that a has and b has not; both are sorted.
func firstOnlyIn(t rules.SetType, a, b []nftables.SetElement) string {
	for _, e := range a {
		if _, found := slices.BinarySearchFunc(b, e, compareElements); !found {
			return elementText(t, e)
		}
	}
	return ""
}
