package plugin_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/sluice-cni/sluice/internal/lab"
)

func connect(t testing.TB, ns *lab.Namespace) *nftables.Conn {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rulesIn lists every rule of every table in the namespace.
func rulesIn(t testing.TB, c *nftables.Conn) []*nftables.Rule {
	t.Helper()
	chains, err := c.ListChains()
	if err != nil {
		t.Fatal(err)
	}
	var out []*nftables.Rule
	for _, chain := range chains {
		found, err := c.GetRules(chain.Table, chain)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range found {
			r.Table, r.Chain = chain.Table, chain // the library leaves half of both out
			out = append(out, r)
		}
	}
	return out
}

func nameOf(r *nftables.Rule) string {
	name, _ := userdata.GetString(r.UserData, userdata.TypeComment)
	return name
}

// Each rule in turn is deleted by hand: CHECK names it, ADD mends it.
func TestCheckNamesEachRuleThatIsDeletedByHand(t *testing.T) {
	t.Parallel()
	fields := `"includeIPRanges":"10.0.0.0/8,2001:db8::/32","dnsCapture":true,"includeInboundPorts":"80","rerouteInterfaces":"tap0"`
	ns := pod(t)
	addInterface(t, ns, "eth0")
	with := func(verb string) outcome { return call{verb: verb, netns: ns.Path(), stdin: conf(fields)}.run(t) }
	with("ADD").succeeded(t)
	plan := planOf(t, fields)
	isOneOf(t, ns, &plan)
	c := connect(t, ns)
	total := len(rulesIn(t, c))
	if total < 30 {
		t.Fatalf("only %d rules", total)
	}
	for i := range total {
		r := rulesIn(t, c)[i]
		if err := c.DelRule(r); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		f := with("CHECK").failed(t)
		// The record's lines are no rules in that sense; an interface is named by its chain.
		name := strings.TrimPrefix(nameOf(r), "interface ")
		if f.Code != 103 || !strings.Contains(f.Details, name) && !strings.HasPrefix(name, "config ") {
			t.Errorf("chain %s, rule %q deleted: %+v", r.Chain.Name, nameOf(r), f)
		}
		with("ADD").succeeded(t)
		isOneOf(t, ns, &plan)
	}
	with("CHECK").succeeded(t)
}

// A rule may also be there and do something else, or come before ours.
func TestCheckSeesRulesThatWereChangedOrAdded(t *testing.T) {
	t.Parallel()
	for name, tamper := range map[string]func(*nftables.Conn, []*nftables.Rule){
		"an accept before the others": func(c *nftables.Conn, all []*nftables.Rule) {
			c.InsertRule(&nftables.Rule{Table: all[0].Table, Chain: chainNamed(all, "output_nat"), Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}})
		},
		"an element more": func(c *nftables.Conn, all []*nftables.Rule) {
			set := &nftables.Set{Table: all[0].Table, Name: "exempt_uids", KeyType: nftables.TypeUID}
			if err := c.SetAddElements(set, []nftables.SetElement{{Key: []byte{1, 0, 0, 0}}}); err != nil {
				panic(err)
			}
		},
		"a chain without a hook emptied": func(c *nftables.Conn, all []*nftables.Rule) {
			c.FlushChain(chainNamed(all, "direct"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := pod(t)
			call{verb: "ADD", netns: ns.Path(), stdin: conf("")}.run(t).succeeded(t)
			c := connect(t, ns)
			tamper(c, rulesIn(t, c))
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			if f := (call{verb: "CHECK", netns: ns.Path(), stdin: conf("")}).run(t).failed(t); f.Code != 103 {
				t.Errorf("%+v", f)
			}
			call{verb: "ADD", netns: ns.Path(), stdin: conf("")}.run(t).succeeded(t)
			call{verb: "CHECK", netns: ns.Path(), stdin: conf("")}.run(t).succeeded(t)
		})
	}
}

func chainNamed(all []*nftables.Rule, name string) *nftables.Chain {
	for _, r := range all {
		if r.Chain.Name == name {
			return r.Chain
		}
	}
	panic(fmt.Sprintf("no chain %s", name))
}

// Other software's tables are none of CHECK's business, and ADD and DEL leave them.
func TestForeignRulesDoNotMatter(t *testing.T) {
	t.Parallel()
	ns := pod(t)
	call{verb: "ADD", netns: ns.Path(), stdin: conf("")}.run(t).succeeded(t)
	c := connect(t, ns)
	for _, family := range []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		table := c.AddTable(&nftables.Table{Name: "foreign", Family: family})
		chain := c.AddChain(&nftables.Chain{Name: "output_nat", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter})
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Counter{}}})
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"CHECK", "ADD", "CHECK", "DEL"} {
		call{verb: verb, netns: ns.Path(), stdin: conf("")}.run(t).succeeded(t)
	}
	foreign := 0
	for _, name := range tables(t, ns) {
		if name == "foreign" {
			foreign++
		}
	}
	if foreign != 3 || len(rulesIn(t, c)) != 3 || bytes.Contains([]byte(fmt.Sprint(tables(t, ns))), []byte("sluice")) {
		t.Errorf("after DEL: %v", tables(t, ns))
	}
}
