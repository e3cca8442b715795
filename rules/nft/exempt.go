package nft

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/rules"
)

// Exempt makes the agents, and nobody else, those whose sockets in the namespace are
// exempt: one small transaction, and nothing is read back. Connections stay as they are,
// and what a plan says stays in force. os.ErrNotExist: the namespace has no rules that
// were made in node mode.
func Exempt(netnsFD int, agents rules.Agents) error {
	if err := agents.Validate(); err != nil {
		return err
	}
	c, err := open(netnsFD)
	if err != nil {
		return err
	}
	defer closeLater(c)
	w := &writer{c: c}
	if err := w.agents(tableLayout{family: nftables.TableFamilyINet}.table(), agents); err != nil {
		return fmt.Errorf("build the agents' exemption: %w", err)
	}
	if err := c.Flush(); err != nil {
		return explain("exempt the node's agent", err)
	}
	return nil
}

// exempt is agents, where it is known who they are.
func (w *writer) exempt(t *nftables.Table, agents *rules.Agents) error {
	if agents == nil {
		return nil
	}
	return w.agents(t, *agents)
}

// agents queues that these are exempt. Of several, one may have counted its level in a
// cgroup namespace that is not ours, so the rules it has loaded stay: the set says who is
// exempt, rules only where to look.
func (w *writer) agents(t *nftables.Table, agents rules.Agents) error {
	plan := rules.Plan{Agents: &agents}
	chain := plan.AgentChain()
	if len(agents.IDs) < 2 {
		w.c.FlushChain(&nftables.Chain{Name: chain.Name, Table: t})
	}
	if err := w.replaceElements(t, plan.AgentSet()); err != nil {
		return err
	}
	w.rules(t, chain, translator{})
	return nil
}
