package iptables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/rules"
)

// translate writes a plan as one family's tables. It looks at nothing but the plan.
func translate(p rules.Plan, f family) (ruleset, error) {
	if p.Gate > 0 {
		return nil, fmt.Errorf("%w: iptables has no element that expires, so failurePolicy bypass cannot be gated by a heartbeat; use the nft backend, or failurePolicy block", rules.ErrUnsupported)
	}
	if p.Node && p.Config.Exemption != rules.ExemptByMark {
		return nil, fmt.Errorf("%w: iptables cannot tell the node agent's sockets by the number of a cgroup, so in node mode it needs exemption mark; use that, or the nft backend", rules.ErrUnsupported)
	}
	t := translator{family: f, sets: map[string]rules.Set{}, chains: map[string]rules.Chain{}}
	for _, s := range p.Sets {
		t.sets[s.Name] = s
	}
	for _, c := range p.Chains {
		t.chains[c.Name] = c
	}
	t.chains[rules.ChainAgent] = rules.Chain{} // by mark only
	out := ruleset{}
	for _, c := range p.Chains {
		if c.Hook == nil {
			continue
		}
		name, builtin, err := tableOf(*c.Hook)
		if err != nil {
			return nil, err
		}
		chains, err := t.chain(c)
		if err != nil {
			return nil, fmt.Errorf("chain %s: %w", c.Name, err)
		}
		if len(chains) > 0 {
			tab := out.table(name)
			tab.chains = append(tab.chains, chains...)
			tab.jumps = append(tab.jumps, jump{builtin, chains[0].name})
		}
	}
	return out, nil
}

func (r ruleset) table(name string) *table {
	if r[name] == nil {
		r[name] = &table{}
	}
	return r[name]
}

// translator knows what the plan's rules refer to.
type translator struct {
	family family
	sets   map[string]rules.Set
	chains map[string]rules.Chain
}

// chain translates a chain with a hook: itself and its parts. A chain that refuses,
// redirects and marks nothing is none.
func (t translator) chain(c rules.Chain) ([]*chain, error) {
	w := &writer{translator: t, base: prefix + strings.ToUpper(c.Name)}
	w.here = w.part()
	begin, ports := 0, []rules.Match(nil)
	if c.Hook.Type == "filter" && c.Hook.Priority < 0 {
		begin, ports = t.gate(c.Rules)
	}
	if err := w.rules(c.Rules[:begin]); err != nil {
		return nil, err
	}
	if len(ports) > 0 {
		if err := w.only(ports); err != nil {
			return nil, err
		}
	}
	if err := w.rules(c.Rules[begin:]); err != nil {
		return nil, err
	}
	if !w.acts {
		return nil, nil
	}
	return w.parts, nil
}

// writer writes a chain downwards; here is the part that the next rule goes to.
type writer struct {
	translator
	base  string
	parts []*chain
	here  *chain
	acts  bool
}

// part begins a new part of the chain: the first is the chain itself.
func (w *writer) part() *chain {
	c := &chain{name: w.base}
	if n := len(w.parts); n > 0 {
		c.name = fmt.Sprintf("%s_%d", w.base, n)
	}
	w.parts = append(w.parts, c)
	return c
}

func (w *writer) rules(list []rules.Rule) error {
	for _, r := range list {
		if err := w.rule(r); err != nil {
			return fmt.Errorf("rule %q: %w", r.Name, err)
		}
	}
	return nil
}

func (w *writer) rule(r rules.Rule) error {
	if r.Action.Kind == rules.ActionAlarm {
		return nil // see Limits
	}
	if i := slices.IndexFunc(r.Matches, w.needsPart); i >= 0 {
		return w.unless(r, i)
	}
	cases, err := w.cases(r.Matches)
	if err != nil || len(cases) == 0 {
		return err
	}
	switch r.Action.Kind {
	case rules.ActionJump:
		return w.jump(r, cases)
	case rules.ActionAccept:
		w.each(r, cases)
		return nil
	}
	w.acts = true
	return w.act(r, cases)
}

// cases are the conditions of which one must hold for all matches to.
func (w *writer) cases(matches []rules.Match) ([]condition, error) {
	out := always
	for _, m := range matches {
		some, err := w.alternatives(m)
		if err != nil {
			return nil, err
		}
		var both []condition
		for _, a := range out {
			for _, b := range some {
				if c, possible := a.and(b); possible {
					both = append(both, c)
				}
			}
		}
		out = both
	}
	return out, nil
}

// each writes the rule once for every case.
func (w *writer) each(r rules.Rule, cases []condition) {
	for _, c := range cases {
		w.here.add(c.String(), commented(r.Name), w.target(r.Action))
	}
}

// few is how many cases stand in the chain itself.
const few = 4

// act writes a rule that does something to a packet. Many cases get a chain of
// their own, which only packets that fit the rest of the rule walk. That chain is
// jumped to, since what fits no case goes on here.
func (w *writer) act(r rules.Rule, cases []condition) error {
	if len(cases) <= few {
		w.each(r, cases)
		return nil
	}
	var common, varying []rules.Match
	for _, m := range r.Matches {
		some, err := w.alternatives(m)
		if err != nil {
			return err
		}
		if len(some) == 1 {
			common = append(common, m)
		} else {
			varying = append(varying, m)
		}
	}
	rest, err := w.cases(common)
	if err != nil {
		return err
	}
	inner, err := w.cases(varying)
	if err != nil {
		return err
	}
	elements := w.part()
	w.here.add(rest[0].String(), commented(r.Name), "-j", elements.name)
	for _, c := range inner {
		if c.protocol == "" {
			c.protocol = rest[0].protocol // redirects and resets ask for it
		}
		elements.add(c.String(), commented(r.Name), w.target(r.Action))
	}
	return nil
}

// jump writes the other chain's rules out: here when every packet goes there, else
// in a part that is left to the rest of this chain.
func (w *writer) jump(r rules.Rule, cases []condition) error {
	other, known := w.chains[r.Action.Chain]
	if !known {
		return fmt.Errorf("jumps to %s, which the plan has not", r.Action.Chain)
	}
	if len(cases) == 1 && cases[0] == (condition{}) {
		return w.rules(other.Rules)
	}
	there, rest := w.part(), w.part()
	for _, c := range cases {
		w.here.add(c.String(), commented(r.Name), "-g", there.name)
	}
	w.leave(r, rest)
	w.here = there
	if err := w.rules(other.Rules); err != nil {
		return err
	}
	w.leave(r, rest)
	w.here = rest
	return nil
}

// needsPart reports a negated look-up among several elements, which no one rule
// can express.
func (w *writer) needsPart(m rules.Match) bool {
	if !m.Not || m.Set == "" {
		return false
	}
	s := w.sets[m.Set]
	prefixes := 0
	for _, r := range s.Addresses {
		prefixes += len(r.Prefixes())
	}
	return prefixes > 1 || len(s.Interfaces) > 1
}

// unless writes a rule whose match i is such a look-up:
//
//	here:  other matches ─▶ goto there; goto rest
//	there: each element ─▶ goto rest; the action; goto rest
//	rest:  the rules that follow
func (w *writer) unless(r rules.Rule, i int) error {
	positive := r.Matches[i]
	positive.Not = false
	elements, err := w.cases([]rules.Match{positive})
	if err != nil {
		return err
	}
	cases, err := w.cases(slices.Delete(slices.Clone(r.Matches), i, i+1))
	if err != nil || len(cases) == 0 || w.foreign(positive) {
		return err
	}
	there, rest := w.part(), w.part()
	for _, c := range cases {
		w.here.add(c.String(), commented(r.Name), "-g", there.name)
	}
	w.leave(r, rest)
	w.here = there
	for _, c := range elements {
		w.here.add(c.String(), commented(r.Name), "-g", rest.name)
	}
	r.Matches = nil
	if err := w.rule(r); err != nil {
		return err
	}
	w.leave(r, rest)
	w.here = rest
	return nil
}

// foreign reports a match on the other family's addresses, which holds for no
// packet, negated or not.
func (w *writer) foreign(m rules.Match) bool {
	return m.Key == rules.KeyIPv4Dst && w.family.v6 || m.Key == rules.KeyIPv6Dst && !w.family.v6
}

// leave goes on in another part, unless the last rule has ended the walk already.
func (w *writer) leave(r rules.Rule, to *chain) {
	if n := len(w.here.rules); n > 0 && strings.HasPrefix(w.here.rules[n-1], "-m comment") && strings.HasSuffix(w.here.rules[n-1], " -j RETURN") {
		return
	}
	w.here.add(commented("after: "+r.Name), "-g", to.name)
}

// target is the word for an action.
func (w *writer) target(a rules.Action) string {
	switch a.Kind {
	case rules.ActionRedirect:
		return fmt.Sprintf("-j REDIRECT --to-ports %d", a.Port)
	case rules.ActionReject:
		if w.family.v6 {
			return "-j REJECT --reject-with icmp6-port-unreachable"
		}
		return "-j REJECT --reject-with icmp-port-unreachable"
	case rules.ActionReset:
		return "-j REJECT --reject-with tcp-reset"
	case rules.ActionZone:
		return fmt.Sprintf("-j CT --zone %d", rules.DNSZone)
	case rules.ActionDrop:
		return "-j DROP"
	}
	return "-j RETURN"
}
