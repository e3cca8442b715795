package nft_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/vishvananda/netlink"
)

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
