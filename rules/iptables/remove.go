package iptables

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-iptables/iptables"
)

// Remove takes out our chains and what leads to them; none there is success. It
// needs no memory of what was applied. Unless other rules ask about connections it
// resets established redirected ones: see Disable.
//
// The rules that lead to our chains go first, the redirects' before the second
// layer's: whoever is stopped on the way has left captured traffic refused or free,
// never a chain that is walked half-way. The chains, which no packet comes to any
// more, go in one commit for each table.
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
			if err := f.removeFamily(held, fam, have[i]); err != nil {
				return fmt.Errorf("remove the %s rules: %w", fam.name, err)
			}
		}
		return nil
	})
}

func (f *Firewall) removeFamily(held *os.File, fam family, have state) error {
	if have.empty() {
		return nil
	}
	tool, err := f.tool(fam)
	if err != nil {
		return err
	}
	for _, name := range slices.Backward(tableOrder) {
		t := have.table(name)
		for _, caller := range t.callers {
			words := splitRule(caller) // -A OUTPUT ...
			if err := tool.Delete(name, words[1], words[2:]...); err != nil && !isMissing(err) {
				return err
			}
		}
		t.callers = nil
	}
	return f.restore(held, fam, batch(have, ruleset{}))
}

// isMissing reports that somebody else has removed the rule meanwhile.
func isMissing(err error) bool {
	var e *iptables.Error
	return errors.As(err, &e) && e.IsNotExist()
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
