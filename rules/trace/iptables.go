package trace

import (
	"fmt"
	"strings"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
)

// IPTables walks the flow's first packet through the rules that iptables-save shows.
// cgroup matches are judged by the path in the flow.
func IPTables(netnsFD int, backend rules.Backend, f rules.Flow) (Result, error) {
	variant := iptables.NFT
	if backend == rules.BackendIPTablesLegacy {
		variant = iptables.Legacy
	}
	firewall, err := iptables.Find(variant)
	if err != nil {
		return Result{}, err
	}
	f.Dst = f.Dst.Unmap()
	text, err := firewall.Saved(netnsFD, f.Dst.Is6())
	if err != nil {
		return Result{}, err
	}
	return walkSaved(parseSaved(text), f)
}

// saved is the rules of each chain of each table, as words.
type saved map[string]chains

func parseSaved(text string) saved {
	out, table := saved{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
			out[table] = chains{}
		case strings.HasPrefix(line, "-A ") && table != "":
			words := iptables.Words(line)
			out[table][words[1]] = append(out[table][words[1]], words[2:])
		}
	}
	return out
}

// walkSaved goes through the tables in the kernel's order.
func walkSaved(s saved, f rules.Flow) (Result, error) {
	out := Result{Fate: Passes}
	p := newPacket(f, nil)
	for _, hook := range savedHooks(f) {
		for _, table := range []string{"raw", "mangle", "nat", "filter"} {
			if hook == "FORWARD" && out.Fate == Redirected {
				continue // it stays here
			}
			for _, words := range s[table][hook] {
				r := readRule(words)
				if !strings.HasPrefix(r.target, iptables.ChainPrefix) {
					out.Others = append(out.Others, fmt.Sprintf("table %s: -A %s %s", table, hook, strings.Join(words, " ")))
					continue
				}
				if err := s[table].enter(&out, table, r.target, p); err != nil || out.ended() {
					return out, err
				}
			}
		}
	}
	return out, nil
}

func savedHooks(f rules.Flow) []string {
	switch {
	case f.InInterface == "":
		return []string{"OUTPUT"}
	case f.OutInterface == "lo":
		return []string{"PREROUTING"}
	}
	return []string{"PREROUTING", "FORWARD"}
}

// chains are the rules of one table.
type chains map[string][][]string

func (c chains) enter(out *Result, table, name string, p *packet) error {
	end, by, err := c.walk(out, name, p, 0)
	if err != nil {
		return err
	}
	out.stop(end, by, p)
	if end.kind == endAccept || end.kind == endReturn {
		if table == "nat" || table == "filter" {
			out.decide(Passes, 0, by)
		}
	}
	return nil
}

func (c chains) walk(out *Result, name string, p *packet, depth int) (end, *Step, error) {
	if depth > deepest {
		return end{}, nil, fmt.Errorf("chain %s: %w: it is jumped to in a circle", name, ErrUnreadable)
	}
	for i, words := range c[name] {
		r := readRule(words)
		step := Step{Chain: name, Rule: r.comment}
		if step.Rule == "" {
			step.Rule = fmt.Sprintf("number %d", i+1)
		}
		matched, err := r.matches(p)
		if err != nil {
			return end{}, nil, fmt.Errorf("chain %s: rule %q: %w", name, step.Rule, err)
		}
		if !matched {
			continue
		}
		e, err := r.end()
		if err != nil {
			return end{}, nil, fmt.Errorf("chain %s: rule %q: %w", name, step.Rule, err)
		}
		step.Action = e.String()
		out.Steps = append(out.Steps, step)
		switch e.kind {
		case endContinue:
		case endJump, endGoto:
			inner, by, err := c.walk(out, e.chain, p, depth+1)
			if err != nil || e.kind == endGoto || inner.kind != endNone && inner.kind != endReturn {
				return inner, by, err
			}
		default:
			return e, &step, nil
		}
	}
	return end{}, nil, nil
}
