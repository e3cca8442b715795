package rulestest

import (
	"fmt"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"

	"github.com/sluice-cni/sluice/internal/lab"
)

// Tamper does by hand with a namespace's tables what nobody should.
func Tamper(t testing.TB, ns *lab.Namespace, edit func(*nftables.Conn) error) {
	t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	must(t, err)
	must(t, edit(c))
	must(t, c.Flush())
}

// EditRule is an edit of the rule of table inet sluice whose comment is name.
func EditRule(chain, name string, edit func(*nftables.Conn, *nftables.Rule)) func(*nftables.Conn) error {
	return func(c *nftables.Conn) error {
		table := &nftables.Table{Name: "sluice", Family: nftables.TableFamilyINet}
		found, err := c.GetRules(table, &nftables.Chain{Name: chain})
		if err != nil {
			return err
		}
		for _, r := range found {
			if text, _ := userdata.GetString(r.UserData, userdata.TypeComment); text == name {
				r.Table, r.Chain = table, &nftables.Chain{Name: chain, Table: table}
				edit(c, r)
				return nil
			}
		}
		return fmt.Errorf("no rule %q in %s", name, chain)
	}
}

// DeleteRule takes a rule out.
func DeleteRule(chain, name string) func(*nftables.Conn) error {
	return EditRule(chain, name, func(c *nftables.Conn, r *nftables.Rule) { c.DelRule(r) })
}

// ReplaceRule puts a rule that only says a verdict in its place.
func ReplaceRule(chain, name string, verdict expr.VerdictKind) func(*nftables.Conn) error {
	return EditRule(chain, name, func(c *nftables.Conn, r *nftables.Rule) {
		r.Exprs = []expr.Any{&expr.Verdict{Kind: verdict}}
		c.ReplaceRule(r)
	})
}
