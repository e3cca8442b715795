package rules

import (
	"errors"
	"fmt"
	"strconv"
)

// Agents are the node agents whose sockets are exempt in node mode: by the kernel's
// numbers of their cgroups, which no later cgroup gets again, and the levels of the
// hierarchy at which a socket is looked up, counted the way the kernel counts for
// whoever loads the rules. A socket is exempt when its cgroup, or the one above it
// at one of the levels, is one of IDs: they say who is exempt, and a level too many
// exempts nobody. None of either is nobody.
type Agents struct {
	Levels []int    `json:"levels"`
	IDs    []uint64 `json:"ids"`
}

// rootCgroup is the number of the cgroup that holds every process of the machine.
const rootCgroup = 1

// deepestLevel is as deep as the kernel looks a socket's cgroup up.
const deepestLevel = 255

// Union are the agents of all: while one takes over from another both are exempt.
func Union(all ...Agents) Agents {
	var out Agents
	for _, a := range all {
		out.Levels, out.IDs = append(out.Levels, a.Levels...), append(out.IDs, a.IDs...)
	}
	return out.canonical()
}

func (a Agents) canonical() Agents { return Agents{sortedSet(a.Levels), sortedSet(a.IDs)} }

// Validate refuses what would exempt every process, or nobody by mistake.
func (a Agents) Validate() error {
	var errs []error
	for _, level := range a.Levels {
		if level < 0 || level > deepestLevel {
			errs = append(errs, fmt.Errorf("the agents' cgroup level %d: not a level; use 0 to %d", level, deepestLevel))
		}
	}
	for _, id := range a.IDs {
		if id <= rootCgroup {
			errs = append(errs, fmt.Errorf("the agents' cgroup %d: is the root of the hierarchy and would exempt every process", id))
		}
	}
	if len(a.Levels) == 0 != (len(a.IDs) == 0) {
		errs = append(errs, fmt.Errorf("the agents have %d cgroups and %d levels to look for them: give both, or neither to exempt nobody", len(a.IDs), len(a.Levels)))
	}
	return errors.Join(errs...)
}

// AgentRule begins the name of the rule that exempts agents at a level, which ends it.
const AgentRule = "agent at level "

// AgentChain is entered before all else that lets a flow pass.
func (p Plan) AgentChain() Chain {
	out := Chain{Name: ChainAgent, Open: true}
	if p.Agents == nil {
		return out
	}
	for _, level := range p.Agents.Levels {
		out.Rules = append(out.Rules, Rule{AgentRule + strconv.Itoa(level), ReasonAgent, []Match{{Key: KeyCgroup, Set: SetAgentCgroups, Level: level}}, Action{Kind: ActionAccept}})
	}
	return out
}

// AgentSet holds the cgroups that AgentChain looks for.
func (p Plan) AgentSet() Set {
	out := Set{Name: SetAgentCgroups, Type: SetCgroup, Open: true}
	if p.Agents != nil {
		out.IDs = p.Agents.IDs
	}
	return out
}

// validateNodeMode looks at what a node's agent is known by: its cgroup, which only
// it can tell, or a mark. Whatever else is exempt would be of the pod.
func (p Plan) validateNodeMode() error {
	c := p.Config
	switch {
	case !p.Node && p.Agents != nil:
		return errors.New("agents are exempt in node mode only; use NodeMode too")
	case !p.Node:
		return nil
	case c.Exemption == ExemptByCgroup:
		return fmt.Errorf("exemption %q: in node mode only agents write their cgroups; remove it and exemptCgroups", string(c.Exemption))
	case c.Exemption == ExemptByUID && (len(c.ExemptUIDs) > 0 || len(c.ExemptGIDs) > 0):
		return errors.New("exemptUIDs, exemptGIDs: in node mode the proxy is no process of the pod, and these would exempt one; remove them")
	case p.Agents != nil:
		return p.Agents.Validate()
	}
	return nil
}
