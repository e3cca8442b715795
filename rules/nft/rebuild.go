package nft

import (
	"slices"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/rules"
)

// A rebuild turns a table that is there into one with other rules. Chains and sets that
// both have stay, emptied and filled again. A set that is made in the same transaction as
// the rules that look into it may be empty to packets for some microseconds after these are
// in force: since nft_set_rbtree.c looks ranges up in an array, that comes last in
// nf_tables_commit (seen with Linux 6.18.44). For that long the redirects and the second
// layer would hold nothing. And nobody but agents could write their part again: levels
// count from the cgroup namespace of who loads the rules, and the library does not read
// them back.
type rebuild struct {
	emptied []*nftables.Chain // stay, with other rules
	chains  []*nftables.Chain // go
	sets    []*nftables.Set   // go
	stay    []string          // names of the chains and sets that stay
}

// rebuilding looks how that is done. ok is false for a table that has to be replaced whole.
func rebuilding(c *nftables.Conn, t *nftables.Table, want tableLayout, found drift) (out rebuild, ok bool) {
	if found.agents || t.Flags != 0 {
		return out, false
	}
	chains, err := c.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return out, false
	}
	for _, chain := range chains {
		if chain.Table == nil || chain.Table.Name != tableName {
			continue
		}
		i := slices.IndexFunc(want.chains, func(w chainLayout) bool { return w.Name == chain.Name && sameHook(chain, kernelChain(t, w)) })
		here := &nftables.Chain{Name: chain.Name, Table: t}
		switch {
		case i < 0:
			out.chains = append(out.chains, here)
			continue
		case !want.chains[i].Open:
			out.emptied = append(out.emptied, here)
		}
		out.stay = append(out.stay, chain.Name)
	}
	sets, err := c.GetSets(t)
	if err != nil {
		return out, false
	}
	for _, s := range sets {
		switch {
		case slices.ContainsFunc(want.sets, func(w rules.Set) bool { return w.Name == s.Name && sameType(s, w) }):
			out.stay = append(out.stay, s.Name)
		case !s.Anonymous: // which ends with its rule
			s.Table = t
			out.sets = append(out.sets, s)
		}
	}
	// Who is exempt is told by both together.
	return out, slices.Contains(out.stay, rules.ChainAgent) == slices.Contains(out.stay, rules.SetAgentCgroups)
}

// rebuild queues it.
func (w *writer) rebuild(t *nftables.Table, r rebuild, want tableLayout, found drift) error {
	for _, chain := range slices.Concat(r.emptied, r.chains) {
		w.c.FlushChain(chain)
	}
	for _, s := range r.sets { // before the chains, since a map may jump to one
		w.c.DelSet(s)
	}
	for _, chain := range r.chains {
		w.c.DelChain(chain)
	}
	if err := w.fill(t, want, r.stay); err != nil {
		return err
	}
	want.sets = slices.DeleteFunc(slices.Clone(want.sets), func(s rules.Set) bool { return !slices.Contains(r.stay, s.Name) })
	if err := w.refill(t, want, found); err != nil || !slices.Contains(r.stay, rules.ChainAgent) {
		return err
	}
	return w.exempt(t, want.agents)
}
