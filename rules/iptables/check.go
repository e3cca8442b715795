package iptables

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/rules"
)

// Check compares the namespace's chains with the plan, rule by rule. It changes
// nothing and ignores what others have there. Whether the namespace was enrolled
// while running, and whose ranges it has, is taken from what was applied. Differences come as a rules.Drift;
// any other error means that the comparison could not be made.
func (f *Firewall) Check(netnsFD int, plan rules.Plan) error {
	have, err := f.readAll(netnsFD)
	if err != nil {
		return err
	}
	if empty(have) {
		return rules.Drift{"chains " + prefix + "*: missing"}
	}
	for _, s := range have {
		r, found := recordIn(s)
		if found && r.Disabled {
			return rules.Drift{"chains " + prefix + "*: disabled; apply the configuration to capture again"}
		}
		if found && (r.Running != plan.Running || r.Auto != plan.Auto) {
			if plan, err = asApplied(plan, r.Applied); err != nil {
				return err
			}
			break
		}
	}
	want, err := rulesets(plan)
	if err != nil {
		return err
	}
	found, err := f.differences(have, want)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return rules.Drift(found)
	}
	return nil
}

// asApplied is the plan with what only the record knows; in which mode it is stays the
// plan's word.
func asApplied(plan rules.Plan, applied rules.Applied) (rules.Plan, error) {
	applied.Node = plan.Node
	return rules.NewPlan(plan.Config, applied.Options()...)
}

// differences compares with what the same programs show of the wanted rules in a
// namespace made for that: every version prints them in its own way.
func (f *Firewall) differences(have []state, want []ruleset) ([]string, error) {
	shown := make([]state, len(want))
	err := oncePerFamily(func(i int, fam family) error {
		err := f.restore(nil, fam, batch(state{}, want[i]))
		if err == nil {
			shown[i], err = f.read(fam)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load the wanted rules, to compare with: %w", err)
	}
	var out []string
	for i, fam := range families() {
		for _, name := range tableNames(have[i], shown[i]) {
			place := fam.name + " " + name
			out = append(out, tableDifferences(place, have[i].table(name), shown[i].table(name))...)
		}
	}
	return out, nil
}

func tableNames(a, b state) []string {
	return slices.Compact(slices.Sorted(func(yield func(string) bool) {
		for name := range maps.Keys(a) {
			if !yield(name) {
				return
			}
		}
		for name := range maps.Keys(b) {
			if !yield(name) {
				return
			}
		}
	}))
}

func tableDifferences(place string, have, want *savedTable) []string {
	var found []string
	for _, name := range want.order {
		rules, there := have.chains[name]
		if !there {
			found = append(found, fmt.Sprintf("%s chain %s: missing", place, name))
			continue
		}
		found = append(found, compareRules(place+" chain "+name, rules, want.chains[name])...)
	}
	for _, name := range have.order {
		if _, wanted := want.chains[name]; !wanted {
			found = append(found, fmt.Sprintf("%s chain %s: not sluice's", place, name))
		}
	}
	return append(found, compareCallers(place, have.callers, want.callers)...)
}

// compareCallers looks at the rules that lead to our chains, wherever they are.
func compareCallers(place string, have, want []string) []string {
	var found []string
	left := count(have)
	for _, w := range want {
		if left[w] > 0 {
			left[w]--
			continue
		}
		builtin, rule, _ := strings.Cut(strings.TrimPrefix(w, "-A "), " ")
		found = append(found, fmt.Sprintf("%s chain %s: rule %q is missing", place, builtin, rule))
	}
	for _, h := range have {
		if left[h] > 0 {
			left[h]--
			builtin, rule, _ := strings.Cut(strings.TrimPrefix(h, "-A "), " ")
			found = append(found, fmt.Sprintf("%s chain %s: rule %q is not sluice's", place, builtin, rule))
		}
	}
	return found
}

// compareRules finds for each rule whether it is there, there with another content,
// or gone; then what is there and belongs to nobody. Rules that a set was written
// out to share a name, so the text is shown too.
func compareRules(place string, have, want []string) []string {
	if slices.Equal(have, want) {
		return nil
	}
	var found []string
	left := count(have)
	var gone []string
	for _, w := range want {
		if left[w] > 0 {
			left[w]--
		} else {
			gone = append(gone, w)
		}
	}
	extra := map[string]int{} // by name
	for text, n := range left {
		extra[commentIn(text)] += n
	}
	changed := map[string]int{}
	for _, w := range gone {
		name, what := commentIn(w), "is missing"
		if extra[name] > changed[name] {
			changed[name]++
			what = "was changed"
		}
		found = append(found, fmt.Sprintf("%s: rule %q %s (%s)", place, name, what, withoutComment(w)))
	}
	for _, h := range have {
		if left[h] == 0 {
			continue
		}
		left[h]--
		if name := commentIn(h); changed[name] > 0 {
			changed[name]--
		} else {
			found = append(found, fmt.Sprintf("%s: rule %q is not sluice's (%s)", place, name, withoutComment(h)))
		}
	}
	if len(found) == 0 {
		found = append(found, place+": the order of its rules was changed")
	}
	return found
}

func count(items []string) map[string]int {
	out := map[string]int{}
	for _, s := range items {
		out[s]++
	}
	return out
}

// withoutComment is a rule without the name that is shown beside it.
func withoutComment(rule string) string {
	before, after, found := strings.Cut(rule, "-m comment --comment ")
	if !found {
		return rule
	}
	if strings.HasPrefix(after, `"`) {
		_, after, _ = strings.Cut(after[1:], `"`)
	} else {
		_, after, _ = strings.Cut(after, " ")
	}
	return join(strings.TrimSpace(before), strings.TrimSpace(after))
}
