package rulestest

import (
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
)

// AgentsBy is how a backend knows the node's agent in node mode.
type AgentsBy uint8

const (
	// ByCgroup: by the chain that only agents write; the mark works as well.
	ByCgroup AgentsBy = iota
	// ByMark: by the secret mark alone.
	ByMark
)

// Mode is how a configuration is applied: for a proxy in the namespace, or in node
// mode with agents.
type Mode struct {
	Node   bool
	agents *rules.Agents // nil: none are named
	in     rules.Cgroups // where the agents are
}

// Plan is the configuration in this mode.
func (m Mode) Plan(c rules.Config) (rules.Plan, error) {
	var options []rules.Option
	if m.Node {
		options = append(options, rules.NodeMode())
	}
	if m.agents != nil {
		options = append(options, rules.Exempting(*m.agents))
	}
	return rules.NewPlan(c, options...)
}

// Seen is a flow as this mode's rules see it: of an agent, or not.
func (m Mode) Seen(f rules.Flow) rules.Flow {
	f.Agent = m.Node && f.InInterface == "" && m.in.Contain(f.Cgroup)
	return f
}

// Mode draws how a configuration is applied, node mode if that is possible. The
// agent is in the first of the flows' cgroups; without a kernel its number is any.
func (r Random) Mode(c rules.Config, by AgentsBy) Mode {
	switch byUID := c.Exemption == rules.ExemptByUID && len(c.ExemptUIDs)+len(c.ExemptGIDs) == 0; {
	case by == ByMark:
		return Mode{Node: c.Exemption == rules.ExemptByMark && r.oneIn(2)}
	case len(r.cgroups) == 0 || c.Exemption != rules.ExemptByMark && !byUID || r.oneIn(3):
		return Mode{}
	}
	return nodeMode(r.cgroups[0])
}

func nodeMode(cgroup string) Mode {
	id := uint64(4711)
	if ids, err := nft.CgroupIDs(cgroup); err == nil {
		id = ids[0]
	}
	agents := rules.Agents{Levels: []int{rules.CgroupDepth(cgroup)}, IDs: []uint64{id}}
	return Mode{Node: true, agents: &agents, in: rules.Cgroups{cgroup}}
}
