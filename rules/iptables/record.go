package iptables

import (
	"errors"
	"iter"
	"reflect"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/record"
)

// anchorLine names the one rule of SLUICE_APPLIED that does something, by being there:
// the kernel follows connections as long as a rule asks about them. Without any it
// forgets where established connections were redirected to, and resets them. The other
// rules there have the record in their comments.
const anchorLine = "keeps established connections"

// recordChain is the chain that keeps a record. All of its configuration is packed:
// iptables-save has a word of its own for every quotation mark.
func recordChain(r record.Record) *chain {
	c := &chain{name: chainApplied}
	c.add("-m conntrack --ctstate ESTABLISHED", commented(anchorLine), "-j", "RETURN")
	for _, line := range r.Lines(0) {
		c.add(commented(line), "-j", "RETURN")
	}
	return c
}

// recordIn reads the record in a family's state; false when there is none.
func recordIn(s state) (record.Record, bool) {
	r := record.Parse(recordLines(s))
	return r, r.Hash != ""
}

func recordLines(s state) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, rule := range s.table("nat").chains[chainApplied] {
			if !yield(commentIn(rule)) {
				return
			}
		}
	}
}

// Applied reports the hash of the configuration a namespace's rules were made
// from, "" when there are none.
func (f *Firewall) Applied(netnsFD int) (string, error) {
	r, _, err := f.recorded(netnsFD)
	return r.Hash, err
}

// Stored reads back the configuration a namespace's rules were made from; false
// when there are none.
func (f *Firewall) Stored(netnsFD int) (rules.Config, bool, error) {
	applied, found, err := f.Read(netnsFD)
	return applied.Config, found, err
}

// Read reads back what a namespace's rules were made from; false when there are none.
func (f *Firewall) Read(netnsFD int) (rules.Applied, bool, error) {
	r, found, err := f.recorded(netnsFD)
	if err != nil || !found {
		return rules.Applied{}, false, err
	}
	applied, err := r.Read("chain " + chainApplied)
	return applied, err == nil, err
}

// recorded reads both families' records, which must be one.
func (f *Firewall) recorded(netnsFD int) (r record.Record, found bool, err error) {
	states, err := f.readAll(netnsFD)
	if err != nil {
		return record.Record{}, false, err
	}
	empty := true
	for i, s := range states {
		this, ok := recordIn(s)
		empty = empty && s.empty()
		if i > 0 && (ok != found || !reflect.DeepEqual(this, r)) {
			return record.Record{}, false, errHalf
		}
		r, found = this, ok
	}
	if !found && !empty {
		return record.Record{}, false, errHalf
	}
	return r, found, nil
}

var errHalf = errors.New("the rules are half programmed, somebody was stopped on the way; apply them again")
