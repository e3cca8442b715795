// Package nft puts a rules.Plan into the kernel over netlink, takes it out, and
// compares what is there with what should be. It runs no program and changes
// nothing outside the tables "inet sluice" and "netdev sluice" of the namespace it
// is given.
//
//	err := nft.Apply(int(netns.Fd()), plan)
//	err = nft.Check(int(netns.Fd()), plan)
//	err = nft.Remove(int(netns.Fd()))
package nft

import (
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/record"
)

// The tables, as `nft list ruleset` shows them (rules.Plan.String prints the same
// with the values of one configuration):
//
//	table inet sluice {
//		set exclude_ipv4 / exclude_ipv6     intervals: excludeIPRanges
//		set include_ipv4 / include_ipv6     intervals: includeIPRanges
//		set named_ipv4   / named_ipv6       intervals: the part of them that names what leaves by lo
//		set dns_ipv4     / dns_ipv6         intervals: dnsServers           (dnsCapture)
//		set include_ports, exclude_ports    intervals of ports
//		set include_inbound_ports, exclude_inbound_ports                    (includeInboundPorts)
//		set exempt_uids, exempt_gids | exempt_marks | exempt_cgroups        (exemption)
//		set include_groups, exclude_groups, exclude_interfaces, reroute_interfaces
//		set agent_cgroups                                                   (rules.NodeMode)
//		set mark_alarm, heartbeat           elements that expire            (exemption mark; Plan.Gate)
//
//		chain applied         no hook: rules whose comments say what was applied (see record)
//		chain agent           no hook: one rule for each level at which agents are found (rules.NodeMode);
//		                      like set agent_cgroups written by agents only, see Exempt
//		chain excluded        no hook: ports and ranges that are never captured
//		chain direct          no hook: jump agent; exempt, interfaces, groups; jump excluded
//		chain output_zone     output, raw:      captured DNS into a conntrack zone of its own (dnsCapture)
//		chain output_marks    output, mangle:   notices who tries marks out     (exemption mark)
//		chain output_nat      output, dstnat:   jump direct; redirects
//		chain postrouting_filter postrouting, mangle: drops what was redirected to loopback and leaves by
//		                      another interface, since its socket is bound to that
//		chain output_filter   output, filter:   replies and redirected pass; jump direct; refuses what should
//		                      have been redirected (failurePolicy block) and what cannot be (nonTCP reject)
//		chain prerouting_nat  prerouting, dstnat: inbound redirects; jump reroute_nat
//		chain reroute_nat     no hook: output_nat for what arrives to go on     (rerouteInterfaces)
//		chain forward_filter  forward, filter:  output_filter for the same
//	}
//	table netdev sluice {                   failurePolicy block: frames of packet sockets
//		set ...             the destinations again: a set belongs to one table
//		chain frames        no hook: routed packets pass, packet sockets' do not; judges what is
//		                    bridged by destination
//		chain egress_NAME   egress of interface NAME: jump frames
//	}
//
// Every set exists for both families and even when it is empty, so the number of
// rules is the same for one range and for twenty thousand, and ranges change
// without touching a chain. "accept" ends the walk of one hook only, in direct
// too: that is why direct is jumped to from each. The filter chain sees packets
// after the redirect but with the interface from before it, so it knows redirected
// packets by conntrack's status. All rules carry their name as comment; Check
// reports drift by it.
//
// The egress chains are on lo as well: a frame that a packet socket puts there
// comes in by lo and would be forwarded where forwarding is on, routed and all.
const (
	tableName    = "sluice"
	chainFrames  = "frames"
	egressPrefix = "egress_"
)

// tableLayout is one of the two tables as it should be.
type tableLayout struct {
	family nftables.TableFamily
	sets   []rules.Set
	chains []chainLayout
	agents *rules.Agents // nil: not known here
	// gone are chains of interfaces that are gone: some kernels take them along,
	// others leave them without a hook.
	gone []string
}

// chainLayout is a chain of the plan or, with a device, one at its egress.
type chainLayout struct {
	rules.Chain
	device string
}

func (t tableLayout) table() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: t.family}
}

func (t tableLayout) String() string {
	if t.family == nftables.TableFamilyNetdev {
		return "table netdev " + tableName
	}
	return "table inet " + tableName
}

// layout is the plan as tables: the second has no chains where the plan has no
// rules for frames or nobody could be held to them.
func layout(p rules.Plan, r record.Record) [2]tableLayout {
	inet := tableLayout{family: nftables.TableFamilyINet, sets: p.Sets, agents: p.Agents, chains: []chainLayout{{Chain: recordChain(r)}}}
	for _, c := range p.Chains {
		inet.chains = append(inet.chains, chainLayout{Chain: c})
	}
	netdev := tableLayout{family: nftables.TableFamilyNetdev}
	if len(p.Frames.Rules) == 0 || r.WithoutFrames {
		return [2]tableLayout{inet, netdev}
	}
	netdev.sets = p.Frames.Sets
	netdev.chains = []chainLayout{{Chain: rules.Chain{Name: chainFrames, Rules: p.Frames.Rules}}}
	for _, name := range r.Interfaces {
		toFrames := rules.Rule{Name: "frames", Action: rules.Action{Kind: rules.ActionJump, Chain: chainFrames}}
		netdev.chains = append(netdev.chains, chainLayout{rules.Chain{Name: egressPrefix + name, Rules: []rules.Rule{toFrames}}, name})
	}
	return [2]tableLayout{inet, netdev}
}

// writer queues tables of one transaction.
type writer struct {
	c       *nftables.Conn
	cgroups cgroups
	gate    []nftables.SetElement            // heartbeats that go in with the set
	made    map[string][]nftables.SetElement // of the sets that are in both tables
	lastID  uint32
	whole   bool // replace tables whole
}

// table queues a whole table. Chains come before their rules, since rules jump to
// chains.
func (w *writer) table(l tableLayout) error { return w.fill(w.c.AddTable(l.table()), l, nil) }

// fill queues what a table has to have beside the chains and sets that are there. All
// chains get their rules but the agents', where that is there.
func (w *writer) fill(t *nftables.Table, l tableLayout, there []string) error {
	translate := translator{sets: map[string]*nftables.Set{}, levels: w.cgroups.levels}
	for _, s := range l.sets {
		if slices.Contains(there, s.Name) {
			continue
		}
		set := kernelSet(t, s)
		// Rules of the same transaction refer to a set by this id. It is ours: the
		// library's counter is shared by all connections and not locked.
		w.lastID++
		set.ID = w.lastID
		if err := w.c.AddSet(set, nil); err != nil {
			return err
		}
		if err := addElements(w.c, set, w.elements(s)); err != nil {
			return err
		}
		translate.sets[s.Name] = set
	}
	for _, chain := range l.chains {
		if !slices.Contains(there, chain.Name) {
			w.c.AddChain(kernelChain(t, chain))
		}
	}
	for _, chain := range l.chains {
		if !chain.Open || !slices.Contains(there, chain.Name) {
			w.rules(t, chain.Chain, translate)
		}
	}
	return nil
}

func (w *writer) elements(s rules.Set) []nftables.SetElement {
	if s.Name == rules.SetHeartbeat {
		return w.gate
	}
	if w.made == nil {
		w.made = map[string][]nftables.SetElement{}
	}
	out, found := w.made[s.Name]
	if !found {
		out = elements(s, w.cgroups.ids)
		w.made[s.Name] = out
	}
	return out
}

func (w *writer) rules(t *nftables.Table, chain rules.Chain, translate translator) {
	for _, r := range chain.Rules {
		w.c.AddRule(&nftables.Rule{
			Table:    t,
			Chain:    &nftables.Chain{Name: chain.Name},
			Exprs:    translate.expressions(r),
			UserData: comment(r.Name),
		})
	}
}

// replaceElements queues new contents for a set that is there.
func (w *writer) replaceElements(t *nftables.Table, s rules.Set) error {
	set := kernelSet(t, s)
	w.c.FlushSet(set)
	return addElements(w.c, set, w.elements(s))
}

func kernelChain(t *nftables.Table, c chainLayout) *nftables.Chain {
	out := &nftables.Chain{Name: c.Name, Table: t, Device: c.device}
	policy := nftables.ChainPolicyAccept
	switch {
	case c.device != "":
		out.Hooknum, out.Priority = nftables.ChainHookEgress, nftables.ChainPriorityFilter
		out.Type, out.Policy = nftables.ChainTypeFilter, &policy
	case c.Hook != nil:
		out.Hooknum = hookNumbers[c.Hook.Point]
		out.Priority = nftables.ChainPriorityRef(nftables.ChainPriority(c.Hook.Priority))
		out.Type, out.Policy = nftables.ChainType(c.Hook.Type), &policy
	}
	return out
}

var hookNumbers = map[rules.Point]*nftables.ChainHook{
	rules.Output:      nftables.ChainHookOutput,
	rules.Postrouting: nftables.ChainHookPostrouting,
	rules.Prerouting:  nftables.ChainHookPrerouting,
	rules.Forward:     nftables.ChainHookForward,
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

// without takes the chains of interfaces out that are not there any more.
func (t tableLayout) without(present []string) tableLayout {
	chains := t.chains
	t.chains = nil
	for _, c := range chains {
		if c.device != "" && !slices.Contains(present, c.device) {
			t.gone = append(t.gone, c.Name)
		} else {
			t.chains = append(t.chains, c)
		}
	}
	return t
}
