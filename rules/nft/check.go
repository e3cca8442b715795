package nft

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/sluice-cni/sluice/rules"
)

// Drift is what Check found to differ from the plan, one sentence each.
type Drift []string

func (d Drift) Error() string { return strings.Join(d, "; ") }

// Check compares the namespace's table with the plan: every chain, set, element
// and rule. It changes nothing and ignores other tables. Differences come as a
// Drift; any other error means that the comparison could not be made.
func Check(netnsFD int, plan rules.Plan) error {
	c, err := open(netnsFD)
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	t, err := installed(c)
	if err != nil {
		return err
	}
	if t == nil {
		return Drift{"table inet " + tableName + ": missing"}
	}
	found, err := differences(c, t, plan)
	if err != nil {
		return explain("read the rules back", err)
	}
	if len(found) > 0 {
		return Drift(found)
	}
	return nil
}

// Applied reports the hash of the configuration a namespace's table was made
// from, "" when there is no table.
func Applied(netnsFD int) (string, error) {
	c, err := open(netnsFD)
	if err != nil {
		return "", err
	}
	defer c.CloseLasting()
	t, err := installed(c)
	if err != nil || t == nil {
		return "", err
	}
	found, err := c.GetRules(t, &nftables.Chain{Name: chainApplied})
	if err != nil {
		return "", explain("read the rules back", err)
	}
	for _, r := range found {
		if hash, ok := strings.CutPrefix(commentOf(r.UserData), hashPrefix); ok {
			return hash, nil
		}
	}
	return "", errors.New("table inet " + tableName + ": holds no configuration hash; it was changed or made by something else")
}

func differences(c *nftables.Conn, t *nftables.Table, plan rules.Plan) ([]string, error) {
	var found []string
	if t.Flags != 0 {
		found = append(found, "table inet "+tableName+": has flags (dormant?) and so may do nothing")
	}
	inSets, err := setDifferences(c, t, plan.Sets)
	if err != nil {
		return nil, err
	}
	inChains, err := chainDifferences(c, t, wholePlan(plan))
	if err != nil {
		return nil, err
	}
	return slices.Concat(found, inSets, inChains), nil
}

func chainDifferences(c *nftables.Conn, t *nftables.Table, want []rules.Chain) ([]string, error) {
	all, err := c.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return nil, err
	}
	have := map[string]*nftables.Chain{}
	for _, chain := range all {
		if chain.Table != nil && chain.Table.Name == tableName {
			have[chain.Name] = chain
		}
	}
	var found []string
	for _, w := range want {
		h := have[w.Name]
		delete(have, w.Name)
		if h == nil {
			found = append(found, "chain "+w.Name+": missing")
			continue
		}
		if !sameHook(h, kernelChain(t, w)) {
			found = append(found, "chain "+w.Name+": its hook, priority or policy was changed")
		}
		inRules, err := ruleDifferences(c, t, w)
		if err != nil {
			return nil, err
		}
		found = append(found, inRules...)
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		found = append(found, "chain "+name+": not sluice's")
	}
	return found, nil
}

func sameHook(have, want *nftables.Chain) bool {
	if want.Hooknum == nil {
		return have.Hooknum == nil
	}
	return have.Hooknum != nil && *have.Hooknum == *want.Hooknum &&
		have.Priority != nil && *have.Priority == *want.Priority &&
		have.Policy != nil && *have.Policy == *want.Policy && have.Type == want.Type
}

func ruleDifferences(c *nftables.Conn, t *nftables.Table, want rules.Chain) ([]string, error) {
	have, err := c.GetRules(t, &nftables.Chain{Name: want.Name})
	if err != nil {
		return nil, err
	}
	var haveText, wantText []string
	for _, r := range have {
		haveText = append(haveText, describe(commentOf(r.UserData), r.Exprs))
	}
	for _, r := range want.Rules {
		wantText = append(wantText, describe(r.Name, expressions(r, nil)))
	}
	if slices.Equal(haveText, wantText) {
		return nil, nil
	}
	return compareRules(want, have, haveText, wantText), nil
}

// compareRules finds for each rule of the plan whether it is there, there with
// another content, or gone; then what is there and belongs to nobody.
func compareRules(want rules.Chain, have []*nftables.Rule, haveText, wantText []string) []string {
	var found []string
	left := map[string]int{}
	names := map[string]int{}
	for i, text := range haveText {
		left[text]++
		names[commentOf(have[i].UserData)]++
	}
	for i, r := range want.Rules {
		switch {
		case left[wantText[i]] > 0:
			left[wantText[i]]--
		case names[r.Name] > 0:
			found = append(found, fmt.Sprintf("chain %s: rule %q was changed", want.Name, r.Name))
			names[r.Name]--
			continue
		default:
			found = append(found, fmt.Sprintf("chain %s: rule %q is missing", want.Name, r.Name))
		}
		names[r.Name]--
	}
	for _, r := range have {
		name := commentOf(r.UserData)
		if n, ok := names[name]; ok && n > 0 {
			found = append(found, fmt.Sprintf("chain %s: rule %q (handle %d) is not sluice's", want.Name, name, r.Handle))
			names[name]--
		}
	}
	if len(found) == 0 {
		found = append(found, "chain "+want.Name+": the order of its rules was changed")
	}
	return found
}

// describe writes a rule in a form that is the same for what was sent and what
// the kernel gives back: it drops the set ids of a transaction, and the register
// that the library does not read back from "ct zone set".
func describe(name string, exprs []expr.Any) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q", name)
	for _, e := range exprs {
		switch e := e.(type) {
		case *expr.Lookup:
			fmt.Fprintf(&b, " lookup %d %s %t", e.SourceRegister, e.SetName, e.Invert)
		case *expr.Ct:
			fmt.Fprintf(&b, " ct %d", e.Key)
		default:
			fmt.Fprintf(&b, " %T%+v", e, e)
		}
	}
	return b.String()
}

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
