// Package nft puts a rules.Plan into the kernel over netlink, takes it out, and
// compares what is there with what should be. It runs no program and changes
// nothing outside the table "inet sluice" of the namespace it is given.
//
//	err := nft.Apply(int(netns.Fd()), plan)
//	err = nft.Check(int(netns.Fd()), plan)
//	err = nft.Remove(int(netns.Fd()))
package nft

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/sluice-cni/sluice/rules"
)

// The table, as `nft list table inet sluice` shows it (rules.Plan.String prints
// the same with the values of one configuration):
//
//	table inet sluice {
//		set exclude_ipv4 / exclude_ipv6     intervals: excludeIPRanges
//		set include_ipv4 / include_ipv6     intervals: includeIPRanges
//		set named_ipv4   / named_ipv6       intervals: the part of them that names what leaves by lo
//		set dns_ipv4     / dns_ipv6         intervals: dnsServers           (dnsCapture)
//		set include_ports, exclude_ports    intervals of ports
//		set exempt_uids, exempt_gids, exempt_marks, exclude_interfaces
//
//		chain applied        no hook: one rule whose comment is the configuration's hash
//		chain direct         no hook: the lines of rules.Precedence that let a packet pass
//		chain output_zone    output, raw:     captured DNS into a conntrack zone of its own (dnsCapture)
//		chain output_nat     output, dstnat:  jump direct; redirects
//		chain output_filter  output, filter:  replies and redirected pass; jump direct; refuses what should
//		                     have been redirected (failurePolicy block) and what cannot be (nonTCP reject)
//	}
//
// Every set exists for both families and even when it is empty, so the number of
// rules is the same for one range and for twenty thousand, and ranges can change
// without touching a chain. "accept" ends the walk of one hook only, in direct
// too: that is why direct is jumped to from each. The filter chain sees packets
// after the redirect but with the interface from before it, so it knows redirected
// packets by conntrack's status. All rules carry their name as comment; Check
// reports drift by it.
const (
	tableName    = "sluice"
	chainApplied = "applied"
	hashPrefix   = "config sha256:"
)

func table() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
}

// wholePlan is the plan with the chain that records what was applied.
func wholePlan(p rules.Plan) []rules.Chain {
	applied := rules.Chain{Name: chainApplied, Rules: []rules.Rule{
		{Name: hashPrefix + p.Hash, Action: rules.Action{Kind: rules.ActionAccept}},
	}}
	return append([]rules.Chain{applied}, p.Chains...)
}

// program queues the whole table. Chains come before their rules, since rules
// jump to chains.
func program(c *nftables.Conn, p rules.Plan) error {
	t := c.AddTable(table())
	sets := map[string]*nftables.Set{}
	for i, s := range p.Sets {
		set, err := addSet(c, t, s, uint32(i+1))
		if err != nil {
			return fmt.Errorf("set %s: %w", s.Name, err)
		}
		sets[s.Name] = set
	}
	chains := wholePlan(p)
	for _, chain := range chains {
		c.AddChain(kernelChain(t, chain))
	}
	for _, chain := range chains {
		for _, r := range chain.Rules {
			c.AddRule(&nftables.Rule{
				Table:    t,
				Chain:    &nftables.Chain{Name: chain.Name},
				Exprs:    expressions(r, sets),
				UserData: comment(r.Name),
			})
		}
	}
	return nil
}

func kernelChain(t *nftables.Table, c rules.Chain) *nftables.Chain {
	out := &nftables.Chain{Name: c.Name, Table: t}
	if c.Hook != nil {
		policy := nftables.ChainPolicyAccept
		out.Hooknum = nftables.ChainHookOutput
		out.Priority = nftables.ChainPriorityRef(nftables.ChainPriority(c.Hook.Priority))
		out.Type = nftables.ChainType(c.Hook.Type)
		out.Policy = &policy
	}
	return out
}

func comment(text string) []byte {
	return userdata.AppendString(nil, userdata.TypeComment, text)
}

// commentOf reads a rule's comment; a rule of somebody else may hold anything.
func commentOf(data []byte) string {
	for len(data) >= 2 && len(data) >= 2+int(data[1]) {
		kind, text := userdata.Type(data[0]), data[2:2+int(data[1])]
		if kind == userdata.TypeComment && len(text) > 0 {
			return string(text[:len(text)-1])
		}
		data = data[2+len(text):]
	}
	return ""
}
