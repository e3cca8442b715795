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

// keeping are the chains and sets of a table that goes, and whether it may go without
// what agents wrote in it. Nobody else could write that again: levels count from the
// cgroup namespace of who loads the rules, and the library does not read them back.
type keeping struct {
	chains []*nftables.Chain
	sets   []*nftables.Set
}

// keepable looks whether the wanted table leaves the agents' part open and the table
// that is there has it, in order.
func keepable(c *nftables.Conn, t *nftables.Table, want tableLayout, found drift) (keeping, bool) {
	open := slices.ContainsFunc(want.chains, func(c chainLayout) bool { return c.Open })
	if !open || found.agents || t.Flags != 0 {
		return keeping{}, false
	}
	var out keeping
	all, err := c.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return keeping{}, false
	}
	haveChain, haveSet := false, false
	for _, chain := range all {
		switch {
		case chain.Table == nil || chain.Table.Name != tableName:
		case chain.Name == rules.ChainAgent:
			haveChain = chain.Hooknum == nil
		default:
			out.chains = append(out.chains, &nftables.Chain{Name: chain.Name, Table: t})
		}
	}
	sets, err := c.GetSets(t)
	if err != nil {
		return keeping{}, false
	}
	for _, s := range sets {
		switch {
		case s.Anonymous: // ends with its rule
		case s.Name == rules.SetAgentCgroups:
			haveSet = s.KeyType.Name == keyTypes[rules.SetCgroup].Name && !s.Interval && !s.Dynamic
		default:
			s.Table = t
			out.sets = append(out.sets, s)
		}
	}
	return out, haveChain && haveSet
}

// clear queues the end of everything in the table but the agents' part.
func (w *writer) clear(k keeping) {
	for _, chain := range k.chains {
		w.c.FlushChain(chain)
	}
	for _, chain := range k.chains {
		w.c.DelChain(chain)
	}
	for _, s := range k.sets {
		w.c.DelSet(s)
	}
}
