package trace

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
)

// table is the name of the table that rules/nft writes.
const table = "sluice"

// NFT walks the flow's first packet through the nf_tables rules of a namespace.
// cgroups are the kernel's numbers of the sender's cgroup and those above it.
func NFT(netnsFD int, f rules.Flow, cgroups []uint64) (Result, error) {
	c, err := nft.Connect(netnsFD)
	if err != nil {
		return Result{}, err
	}
	defer c.CloseLasting()
	chains, err := c.ListChains()
	if err != nil {
		return Result{}, fmt.Errorf("list the chains: %w", err)
	}
	d, err := dump(c, chains)
	if err != nil {
		return Result{}, err
	}
	out := Result{Fate: Passes}
	p := newPacket(f, cgroups)
	for _, hook := range hooks(f) {
		if hook == nftables.ChainHookForward && out.Fate == Redirected {
			continue // it stays here
		}
		for _, chain := range atHook(chains, *hook) {
			switch {
			case !ours(chain):
				out.Others = append(out.Others, fmt.Sprintf("%s %s, chain %s", familyName(chain.Table.Family), chain.Table.Name, chain.Name))
			case out.ended():
			default:
				if err := d.enter(&out, chain, p); err != nil {
					return Result{}, err
				}
			}
		}
	}
	slices.Sort(out.Others)
	return out, nil
}

// hooks are those that a flow's first packet comes by, of the ones we use.
func hooks(f rules.Flow) []*nftables.ChainHook {
	switch {
	case f.InInterface == "":
		return []*nftables.ChainHook{nftables.ChainHookOutput}
	case f.OutInterface == "lo":
		return []*nftables.ChainHook{nftables.ChainHookPrerouting}
	}
	return []*nftables.ChainHook{nftables.ChainHookPrerouting, nftables.ChainHookForward}
}

// atHook are the base chains of the IP families at a hook, in the kernel's order.
func atHook(all []*nftables.Chain, hook nftables.ChainHook) []*nftables.Chain {
	var out []*nftables.Chain
	for _, c := range all {
		ip := c.Table != nil && (c.Table.Family == nftables.TableFamilyINet || c.Table.Family == nftables.TableFamilyIPv4 || c.Table.Family == nftables.TableFamilyIPv6)
		if ip && c.Hooknum != nil && *c.Hooknum == hook && c.Priority != nil {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b *nftables.Chain) int { return int(*a.Priority) - int(*b.Priority) })
	return out
}

func ours(c *nftables.Chain) bool {
	return c.Table.Family == nftables.TableFamilyINet && c.Table.Name == table
}

func familyName(f nftables.TableFamily) string {
	return map[nftables.TableFamily]string{nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6"}[f]
}

// ruleset is our table as the kernel has it.
type ruleset struct {
	chains   map[string][]*nftables.Rule
	policies map[string]nftables.ChainPolicy
	sets     map[string]set
}

func dump(c *nftables.Conn, chains []*nftables.Chain) (ruleset, error) {
	d := ruleset{map[string][]*nftables.Rule{}, map[string]nftables.ChainPolicy{}, map[string]set{}}
	var t *nftables.Table
	for _, chain := range chains {
		if chain.Table == nil || !ours(chain) {
			continue
		}
		t = chain.Table
		found, err := c.GetRules(t, chain)
		if err != nil {
			return d, fmt.Errorf("read chain %s: %w", chain.Name, err)
		}
		d.chains[chain.Name] = found
		if chain.Policy != nil {
			d.policies[chain.Name] = *chain.Policy
		}
	}
	if t == nil {
		return d, nil
	}
	sets, err := c.GetSets(t)
	if err != nil {
		return d, fmt.Errorf("list the sets: %w", err)
	}
	for _, s := range sets {
		elements, err := c.GetSetElements(s)
		if err != nil {
			return d, fmt.Errorf("read set %s: %w", s.Name, err)
		}
		known := newSet(s.Interval, elements)
		known.cgroups = s.KeyType.Name == nftables.TypeCGroupV2.Name
		d.sets[s.Name] = known
	}
	return d, nil
}

// enter walks a base chain, and rewrites the packet where a rule does.
func (d ruleset) enter(out *Result, chain *nftables.Chain, p *packet) error {
	name := chain.Name
	end, by, err := d.walk(out, name, p, 0)
	if err != nil {
		return err
	}
	out.stop(end, by, p)
	switch end.kind {
	case endAccept:
		if *chain.Priority >= *nftables.ChainPriorityNATDest { // before, nothing is decided yet
			out.decide(Passes, 0, by)
		}
	case endNone:
		if policy, given := d.policies[name]; given && policy == nftables.ChainPolicyDrop {
			out.decide(Dropped, 0, &Step{Chain: name, Rule: "policy", Action: "drop"})
		}
	}
	return nil
}

// deepest is how many jumps the kernel allows.
const deepest = 16

func (d ruleset) walk(out *Result, name string, p *packet, depth int) (end, *Step, error) {
	if depth > deepest {
		return end{}, nil, fmt.Errorf("chain %s: %w: it is jumped to in a circle", name, ErrUnreadable)
	}
	for i, r := range d.chains[name] {
		step := Step{Chain: name, Rule: ruleName(r, i), Handle: r.Handle}
		m := machine{packet: p, sets: d.sets}
		e, err := m.run(r.Exprs)
		if err != nil {
			return end{}, nil, fmt.Errorf("chain %s: rule %q: %w", name, step.Rule, err)
		}
		if e.kind == endNone {
			continue
		}
		step.Action = e.String()
		out.Steps = append(out.Steps, step)
		switch e.kind {
		case endReturn:
			return end{}, nil, nil
		case endJump, endGoto:
			inner, by, err := d.walk(out, e.chain, p, depth+1)
			if err != nil || inner.kind != endNone || e.kind == endGoto {
				return inner, by, err
			}
		case endContinue:
		default:
			return e, &step, nil
		}
	}
	return end{}, nil, nil
}

func ruleName(r *nftables.Rule, i int) string {
	if text, ok := userdata.GetString(r.UserData, userdata.TypeComment); ok && text != "" {
		return text
	}
	return fmt.Sprintf("number %d", i+1)
}
