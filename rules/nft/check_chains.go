package nft

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/sluice-cni/sluice/rules"
)

func chainDifferences(c *nftables.Conn, t *nftables.Table, want tableLayout, found *drift) error {
	all, err := c.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return err
	}
	have := map[string]*nftables.Chain{}
	for _, chain := range all {
		if chain.Table != nil && chain.Table.Name == tableName {
			have[chain.Name] = chain
		}
	}
	for _, w := range want.chains {
		h := have[w.Name]
		delete(have, w.Name)
		if h == nil {
			found.inStructure("chain " + w.Name + ": missing")
			continue
		}
		if !sameHook(h, kernelChain(t, w)) {
			found.inStructure("chain " + w.Name + ": its hook, priority or policy was changed")
		}
		if w.Open {
			if err := agentDifferences(c, t, want.agents, found); err != nil {
				return err
			}
			continue
		}
		inRules, err := ruleDifferences(c, t, w.Chain)
		switch {
		case err != nil:
			return err
		case len(inRules) > 0 && w.Name == chainApplied:
			found.record = true
			found.sentences = append(found.sentences, recordDifferences(inRules)...)
		case len(inRules) > 0:
			found.inStructure(inRules...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if slices.Contains(want.gone, name) {
			continue
		}
		found.inStructure("chain " + name + ": not sluice's")
	}
	return nil
}

// recordDifferences says in one sentence that the record is about another
// configuration: what differs in that, the sets and rules tell.
func recordDifferences(inRules []string) []string {
	aboutConfig := func(s string) bool { return strings.Contains(s, `: rule "config `) }
	out := slices.DeleteFunc(slices.Clone(inRules), aboutConfig)
	if len(out) < len(inRules) {
		out = append(out, "chain "+chainApplied+": it records another configuration, or was changed")
	}
	return out
}

func (d *drift) inStructure(sentences ...string) {
	d.structure = true
	d.sentences = append(d.sentences, sentences...)
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
	return compareWith(want, have), nil
}

func compareWith(want rules.Chain, have []*nftables.Rule) []string {
	var haveText, wantText []string
	for _, r := range have {
		haveText = append(haveText, describe(commentOf(r.UserData), r.Exprs))
	}
	for _, r := range want.Rules {
		wantText = append(wantText, describe(r.Name, translator{}.expressions(r)))
	}
	if slices.Equal(haveText, wantText) {
		return nil
	}
	return compareRules(want, have, haveText, wantText)
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
// the kernel gives back: it drops the set ids of a transaction, the register that
// the library does not read back from "ct zone set", and "socket", which it does not
// read back at all. What the socket is asked for is told by the set it is looked up in.
func describe(name string, exprs []expr.Any) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q", name)
	for _, e := range exprs {
		switch e := e.(type) {
		case *expr.Lookup:
			fmt.Fprintf(&b, " lookup %d %s %t", e.SourceRegister, e.SetName, e.Invert)
		case *expr.Ct:
			fmt.Fprintf(&b, " ct %d", e.Key)
		case *expr.Socket:
		case *expr.Dynset:
			fmt.Fprintf(&b, " dynset %s %d %s", e.SetName, e.Operation, e.Timeout)
		default:
			fmt.Fprintf(&b, " %T%+v", e, e)
		}
	}
	return b.String()
}
