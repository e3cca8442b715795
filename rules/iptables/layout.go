// Package iptables puts a rules.Plan into the kernel with the iptables programs,
// takes it out, and compares what is there with what should be: for hosts without
// nf_tables, or where everything else is iptables. Both variants of the programs
// are used alike, the one that writes nf_tables and the legacy one. It changes
// nothing but its own chains and the one rule of each built-in chain that jumps to
// them.
//
//	fw, err := iptables.Find(iptables.NFT)
//	err = fw.Apply(int(netns.Fd()), plan)
//	err = fw.Check(int(netns.Fd()), plan)
//	err = fw.Remove(int(netns.Fd()))
package iptables

import (
	"fmt"
	"strings"

	"github.com/sluice-cni/sluice/rules"
)

// The layout, once for each family (iptables-save shows it):
//
//	*filter  OUTPUT ─▶ SLUICE_OUTPUT_FILTER    replies and redirected pass; what should have been
//	                                           redirected and what cannot be is refused
//	         FORWARD ─▶ SLUICE_FORWARD_FILTER  the same for what was rerouted
//	*mangle  POSTROUTING ─▶ SLUICE_POSTROUTING_FILTER  drops what was redirected and is bound to an interface
//	*raw     OUTPUT ─▶ SLUICE_OUTPUT_ZONE      captured DNS into a conntrack zone of its own
//	*nat     OUTPUT ─▶ SLUICE_OUTPUT_NAT       redirects
//	         PREROUTING ─▶ SLUICE_PREROUTING_NAT
//	         SLUICE_APPLIED                    no packet comes here: its comments are the record
//
// A chain here is one of the plan's chains that have a hook, with the chains it
// jumps to written out inside it. The plan's accept is RETURN: it ends the walk of
// ours and leaves the rest of the built-in chain to others, as an accept in a table
// of its own does under nftables. RETURN must therefore lead back to the built-in
// chain from wherever it stands, so parts of a chain (SLUICE_OUTPUT_NAT_1 ...) are
// entered by goto, which leaves no way back behind, and go on by another.
//
// iptables has no sets. A rule that looks up a set is one rule for each element,
// linear in the number of ranges; those with more than a few elements are a chain
// of their own, walked only by what fits the rest of the rule.
const (
	prefix       = "SLUICE_"
	chainApplied = prefix + "APPLIED"
)

// tableOrder is the order of commits: iptables-restore commits table by table.
//
// The filter goes first. It has the second layer, which holds whatever should
// be redirected and is not; so from the moment it is there, until the redirects
// are, captured connections wait instead of going out. It lets redirected packets
// pass whoever redirected them, so those of the old nat table still work.
// The raw table goes before nat, since a DNS query that is redirected but not in
// its zone could come back to the proxy as its own. The mangle table
// holds back, after the redirects, what they cannot lead to the proxy. The nat table goes last,
// and IPv6 after IPv4: the last thing that becomes true is the record in IPv6's
// nat table. A run that was killed has left the filter and not the redirects
// (held, never direct), or one family's (the other as it was before); the next
// Apply finds the record missing or different and writes everything again.
//
// Removal goes the other way round: nat first, the filter last.
var tableOrder = []string{"filter", "raw", "mangle", "nat"}

// tableOf says which table has a chain for a hook. The priorities are those of the
// tables in the kernel.
func tableOf(h rules.Hook) (table, builtin string, err error) {
	table = map[rules.Hook]string{
		{Type: "filter", Priority: -300}: "raw",
		{Type: "filter", Priority: -150}: "mangle",
		{Type: "nat", Priority: -100}:    "nat",
		{Type: "filter", Priority: 0}:    "filter",
	}[rules.Hook{Type: h.Type, Priority: h.Priority}]
	if table == "" {
		return "", "", fmt.Errorf("%w: iptables has no table of type %s at priority %d", rules.ErrUnsupported, h.Type, h.Priority)
	}
	return table, strings.ToUpper(string(h.Point)), nil
}

// family is IPv4 or IPv6.
type family struct {
	name    string // as in errors
	program string // the programs' prefix
	v6      bool
}

var (
	ipv4 = family{name: "IPv4", program: "iptables"}
	ipv6 = family{name: "IPv6", program: "ip6tables", v6: true}
)

// ruleset is what one family's tables should hold, by table.
type ruleset map[string]*table

// table is the own part of one table.
type table struct {
	chains []*chain
	jumps  []jump // from built-in chains
}

// jump is the rule of a built-in chain that leads to ours.
type jump struct{ builtin, to string }

func (j jump) args() string { return join(commented("sluice"), "-j", j.to) }

// chain is a list of rules as iptables-restore reads them, without "-A name".
type chain struct {
	name  string
	rules []string
}

func (c *chain) add(rule ...string) { c.rules = append(c.rules, join(rule...)) }

// join puts words together, leaving out empty ones.
func join(words ...string) string {
	var out []string
	for _, w := range words {
		if w != "" {
			out = append(out, w)
		}
	}
	return strings.Join(out, " ")
}

func commented(text string) string { return "-m comment --comment " + quote(text) }

// quote writes a word the way iptables-restore reads it.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
