package nft

import (
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/rules"
)

// agentsIn is the chain of the agents as agents would write what is there: rules for
// some levels and nothing else.
func agentsIn(have []*nftables.Rule) rules.Chain {
	var found rules.Agents
	for _, r := range have {
		text, ok := strings.CutPrefix(commentOf(r.UserData), rules.AgentRule)
		if level, err := strconv.Atoi(text); ok && err == nil && level >= 0 {
			found.Levels = append(found.Levels, level)
		}
	}
	return rules.Plan{Agents: &found}.AgentChain()
}

// leftovers are the chains and sets of a table that go, while the table stays with what
// others have written in it. Nobody but agents could write their part again: levels
// count from the cgroup namespace of who loads the rules, and the library does not read
// them back.
type leftovers struct {
	chains []*nftables.Chain
	sets   []*nftables.Set
	stay   []string // names of chains and sets
}

// besidesOpen looks whether the wanted table leaves the agents' part open and the table
// that is there has it, in order.
func besidesOpen(c *nftables.Conn, t *nftables.Table, want tableLayout, found drift) (out leftovers, ok bool) {
	if !slices.ContainsFunc(want.chains, func(c chainLayout) bool { return c.Open }) || found.agents || t.Flags != 0 {
		return out, false
	}
	chains, err := c.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return out, false
	}
	for _, chain := range chains {
		switch {
		case chain.Table == nil || chain.Table.Name != tableName:
		case chain.Name == rules.ChainAgent && chain.Hooknum == nil:
			out.stay = append(out.stay, chain.Name)
		default:
			out.chains = append(out.chains, &nftables.Chain{Name: chain.Name, Table: t})
		}
	}
	sets, err := c.GetSets(t)
	if err != nil {
		return out, false
	}
	for _, s := range sets {
		switch {
		case slices.ContainsFunc(want.sets, func(w rules.Set) bool { return w.Open && w.Name == s.Name && sameType(s, w) }):
			out.stay = append(out.stay, s.Name)
		case !s.Anonymous: // which ends with its rule
			s.Table = t
			out.sets = append(out.sets, s)
		}
	}
	return out, slices.Contains(out.stay, rules.ChainAgent) && slices.Contains(out.stay, rules.SetAgentCgroups)
}

// clear queues the end of the leftovers.
func (w *writer) clear(l leftovers) {
	for _, chain := range l.chains {
		w.c.FlushChain(chain)
	}
	for _, chain := range l.chains {
		w.c.DelChain(chain)
	}
	for _, s := range l.sets {
		w.c.DelSet(s)
	}
}
