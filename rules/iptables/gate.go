package iptables

import (
	"slices"

	"github.com/sluice-cni/sluice/rules"
)

// gate finds where a list of rules begins to concern single ports only, and which:
// everything from there on that does something asks for one of them. Chains that
// every packet walks, not only a connection's first, are left by all others there:
// they need not walk the excludes, of which there may be thousands.
func (t translator) gate(list []rules.Rule) (begin int, ports []rules.Match) {
	for begin = len(list); begin > 0; begin-- {
		r := list[begin-1]
		if t.passes(r) {
			continue
		}
		i := slices.IndexFunc(r.Matches, func(m rules.Match) bool { return m.Port != 0 && m.Set == "" && !m.Not })
		if i < 0 || r.Matches[i].Key == rules.KeyTCPSrcPort || r.Matches[i].Key == rules.KeyUDPSrcPort {
			break
		}
		if !slices.Contains(ports, r.Matches[i]) {
			ports = append(ports, r.Matches[i])
		}
	}
	return begin, ports
}

// passes reports a rule that can do no more than let a packet pass.
func (t translator) passes(r rules.Rule) bool {
	switch r.Action.Kind {
	case rules.ActionAccept:
		return true
	case rules.ActionJump:
		return !slices.ContainsFunc(t.chains[r.Action.Chain].Rules, func(r rules.Rule) bool { return !t.passes(r) })
	}
	return false
}

// only lets packets to other ports leave the chain here.
func (w *writer) only(ports []rules.Match) error {
	rest := w.part()
	for _, m := range ports {
		cases, err := w.alternatives(m)
		if err != nil {
			return err
		}
		for _, c := range cases {
			w.here.add(c.String(), commented("a port that matters"), "-g", rest.name)
		}
	}
	w.here.add(commented("any other port"), "-j", "RETURN")
	w.here = rest
	return nil
}
