package nft

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/rules"
)

// agentDifferences judges the agents' chain: every rule must be one that agents write,
// and where it is known who is exempt, each level must be looked at.
func agentDifferences(c *nftables.Conn, t *nftables.Table, agents *rules.Agents, found *drift) error {
	have, err := c.GetRules(t, &nftables.Chain{Name: rules.ChainAgent})
	if err != nil {
		return err
	}
	var there rules.Agents
	for _, r := range have {
		text, ok := strings.CutPrefix(commentOf(r.UserData), rules.AgentRule)
		if level, err := strconv.Atoi(text); ok && err == nil && level >= 0 {
			there.Levels = append(there.Levels, level)
		}
	}
	if strange := compareWith(rules.Plan{Agents: &there}.AgentChain(), have); len(strange) > 0 {
		found.agents = true
		found.sentences = append(found.sentences, strange...)
		return nil
	}
	for _, level := range wantedLevels(agents) {
		if !slices.Contains(there.Levels, level) {
			found.levels = true
			found.sentences = append(found.sentences, fmt.Sprintf("chain %s: rule %q is missing", rules.ChainAgent, rules.AgentRule+strconv.Itoa(level)))
		}
	}
	return nil
}

func wantedLevels(agents *rules.Agents) []int {
	if agents == nil {
		return nil
	}
	return agents.Levels
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

// besidesOpen looks whether both the wanted table and the one that is there have the
// agents' part, in order.
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
	for _, s := range l.sets { // before the chains, since a map may jump to one
		w.c.DelSet(s)
	}
	for _, chain := range l.chains {
		w.c.DelChain(chain)
	}
}
