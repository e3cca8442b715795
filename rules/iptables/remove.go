package iptables

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-iptables/iptables"
)

// Remove takes out our chains and what leads to them; none there is success. The
// built-in chains stay, and with them what conntrack knows: established redirected
// connections go on. It needs no memory of what was applied.
func (f *Firewall) Remove(netnsFD int) error {
	held, err := lock(netnsFD)
	if err != nil {
		return err
	}
	defer held.Close()
	have, err := f.readAll(netnsFD)
	if err != nil || empty(have) {
		return err
	}
	return inside(netnsFD, func() error {
		for i, fam := range families() {
			if have[i].empty() {
				continue
			}
			tool, err := f.tool(fam)
			if err != nil {
				return err
			}
			for _, name := range slices.Backward(tableOrder) {
				if err := removeTable(tool, name, have[i].table(name)); err != nil {
					return fmt.Errorf("remove the %s rules: %w", fam.name, err)
				}
			}
		}
		return nil
	})
}

func (f *Firewall) tool(fam family) (*iptables.IPTables, error) {
	protocol := iptables.ProtocolIPv4
	if fam.v6 {
		protocol = iptables.ProtocolIPv6
	}
	wait, err := strconv.Atoi(xtablesWait)
	if err != nil {
		return nil, err
	}
	return iptables.New(iptables.IPFamily(protocol), iptables.Path(f.programs[fam].tool), iptables.Timeout(wait))
}

// removeTable removes the callers first, so that nothing is walked half-way, then
// the chains, emptied before the first is deleted since they lead to each other.
func removeTable(tool *iptables.IPTables, name string, have *savedTable) error {
	for _, caller := range have.callers {
		words := splitRule(caller) // -A OUTPUT ...
		if err := tool.Delete(name, words[1], words[2:]...); err != nil {
			return err
		}
	}
	for _, c := range have.order {
		if err := tool.ClearChain(name, c); err != nil {
			return err
		}
	}
	for _, c := range have.order {
		if err := tool.DeleteChain(name, c); err != nil {
			return err
		}
	}
	return nil
}

// splitRule splits a saved rule into arguments, undoing iptables-save's quotes.
func splitRule(rule string) []string {
	var out []string
	var word strings.Builder
	quoted, begun := false, false
	for i := 0; i < len(rule); i++ {
		switch c := rule[i]; {
		case c == '"':
			quoted, begun = !quoted, true
		case c == '\\' && quoted && i+1 < len(rule):
			i++
			word.WriteByte(rule[i])
		case c == ' ' && !quoted:
			if begun {
				out = append(out, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	if begun {
		out = append(out, word.String())
	}
	return out
}
