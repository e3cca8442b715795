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
