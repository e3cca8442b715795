package nft

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/record"
)

// ErrOther reports rules that are not those a change was meant for; whoever meets it
// calls Apply, which looks at all of them.
var ErrOther = errors.New("the namespace's rules were made from another configuration")

// ReplaceSets turns rules made from the configuration whose hash is from into those of
// a plan that differs from it in the contents of sets only: in its ranges, say. One
// short look at the record and one transaction; no rule and no connection is touched,
// and nothing but the record is read back. ErrOther: the record is of something else,
// the plan differs in rules too, or capture is disabled.
func ReplaceSets(netnsFD int, from string, to rules.Plan) error {
	c, err := open(netnsFD)
	if err != nil {
		return err
	}
	defer closeLater(c)
	inet := tableLayout{family: nftables.TableFamilyINet}.table()
	have, err := readRecord(c, inet)
	if err != nil {
		return err
	}
	if have.Hash == "" || have.Hash != from || have.Disabled {
		return fmt.Errorf("replace the ranges: %w: %s, not %s", ErrOther, stateOf(have), from)
	}
	was, err := applied(have)
	if err != nil {
		return fmt.Errorf("replace the ranges: %w: %w", ErrOther, err)
	}
	old, err := rules.NewPlan(was.Config, was.Options()...)
	if err != nil {
		return fmt.Errorf("replace the ranges: %w: %w", ErrOther, err)
	}
	if !sameRules(old, to) {
		return fmt.Errorf("replace the ranges: %w: its rules differ from the wanted ones, not only its ranges", ErrOther)
	}
	want, err := newRecord(to, have.Interfaces)
	if err != nil {
		return err
	}
	want.WithoutFrames = have.WithoutFrames
	w := &writer{c: c}
	if err := w.replaceSets(old, to, want); err != nil {
		return fmt.Errorf("build the sets: %w", err)
	}
	if err := c.Flush(); err != nil {
		return explain("replace the ranges", err)
	}
	return nil
}

// sameRules reports plans whose chains are alike; who is exempt in node mode is
// neither's.
func sameRules(a, b rules.Plan) bool {
	names := func(p rules.Plan) (out []string) {
		for _, s := range p.Sets {
			out = append(out, s.Name)
		}
		return out
	}
	notAgents := func(c rules.Chain) bool { return c.Name != rules.ChainAgent }
	chains := func(p rules.Plan) (out []rules.Chain) {
		for _, c := range p.Chains {
			if notAgents(c) {
				out = append(out, c)
			}
		}
		return out
	}
	return a.Running == b.Running && a.Gate == b.Gate && a.Node == b.Node && slices.Equal(names(a), names(b)) &&
		slices.Equal(a.Config.ExcludeInterfaces, b.Config.ExcludeInterfaces) &&
		reflect.DeepEqual(chains(a), chains(b)) && reflect.DeepEqual(a.Frames.Rules, b.Frames.Rules)
}

// replaceSets queues the contents of the sets that differ, in both tables, and the
// new record.
func (w *writer) replaceSets(old, to rules.Plan, r record.Record) error {
	layouts := layout(to, r)
	for i, was := range layout(old, r) {
		t := layouts[i].table()
		for j, s := range layouts[i].sets {
			if s.Dynamic || s.Name == rules.SetAgentCgroups || reflect.DeepEqual(s, was.sets[j]) {
				continue
			}
			if err := w.replaceElements(t, s); err != nil {
				return err
			}
		}
	}
	inet := layouts[0].table()
	w.c.FlushChain(&nftables.Chain{Name: chainApplied, Table: inet})
	w.rules(inet, recordChain(r), translator{})
	return w.exempt(inet, to.Agents)
}
