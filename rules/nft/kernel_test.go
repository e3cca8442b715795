package nft_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/vishvananda/netlink"
)

// change edits a namespace's ruleset the way a person with nft would.
func change(t testing.TB, ns *lab.Namespace, edit func(*nftables.Conn) error) {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	if err := edit(c); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
}

func ruleNamed(c *nftables.Conn, chain, name string) (*nftables.Rule, error) {
	table := &nftables.Table{Name: "sluice", Family: nftables.TableFamilyINet}
	found, err := c.GetRules(table, &nftables.Chain{Name: chain})
	if err != nil {
		return nil, err
	}
	for _, r := range found {
		if text, _ := userdata.GetString(r.UserData, userdata.TypeComment); text == name {
			r.Table, r.Chain = table, &nftables.Chain{Name: chain, Table: table}
			return r, nil
		}
	}
	return nil, fmt.Errorf("no rule %q in %s", name, chain)
}

func deleteRule(c *nftables.Conn, chain, name string) error {
	r, err := ruleNamed(c, chain, name)
	if err != nil {
		return err
	}
	return c.DelRule(r)
}

func replaceByAccept(c *nftables.Conn, chain, name string) error {
	r, err := ruleNamed(c, chain, name)
	if err != nil {
		return err
	}
	r.Exprs = []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	c.ReplaceRule(r)
	return nil
}

func tables(t testing.TB, ns *lab.Namespace) []string {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, table := range found {
		out = append(out, fmt.Sprintf("%d/%s", table.Family, table.Name))
	}
	return out
}

// handles identifies the rules that are loaded now: a replaced rule has another.
func handles(t testing.TB, ns *lab.Namespace) string {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	table := &nftables.Table{Name: "sluice", Family: nftables.TableFamilyINet}
	var out strings.Builder
	for _, chain := range []string{"direct", "output_zone", "output_nat", "output_filter"} {
		found, err := c.GetRules(table, &nftables.Chain{Name: chain})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range found {
			fmt.Fprint(&out, chain, r.Handle, " ")
		}
	}
	return out.String()
}

// deleteChain deletes a chain of the netdev table with its rules.
func deleteChain(t testing.TB, ns *lab.Namespace, name string) error {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		return err
	}
	chain := &nftables.Chain{Name: name, Table: &nftables.Table{Name: "sluice", Family: nftables.TableFamilyNetdev}}
	c.FlushChain(chain)
	c.DelChain(chain)
	return c.Flush()
}

func removeLink(t testing.TB, ns *lab.Namespace, name string) {
	t.Helper()
	err := ns.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	})
	if err != nil {
		t.Fatal(err)
	}
}
