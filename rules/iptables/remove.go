package iptables

import (
	"errors"
	"os"
	"slices"
	"strconv"

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
	return f.alone(netnsFD, func(held *os.File, have []state) error {
		if empty(have) {
			return nil
		}
		return each(netnsFD, "remove", func(i int, fam family) error {
			return f.removeFamily(held, fam, have[i])
		})
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
			words := Words(caller) // -A OUTPUT ...
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
