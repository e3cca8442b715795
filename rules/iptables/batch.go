package iptables

import (
	"slices"
	"strings"
)

// batch is the input of one iptables-restore --noflush that turns what a family has
// into what it should have, table by table in tableOrder. Naming a chain of ours
// empties it or makes it; chains that are not wanted any more are deleted once
// nothing leads to them. A table's changes happen together or not at all, so
// there is no moment without rules.
func batch(have state, want ruleset) string {
	var b strings.Builder
	for _, name := range tableOrder {
		h, w := have.table(name), want[name]
		if w == nil {
			w = &table{}
		}
		if len(h.order) == 0 && len(h.callers) == 0 && len(w.chains) == 0 {
			continue
		}
		b.WriteString("*" + name + "\n")
		writeTable(&b, h, w)
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

func writeTable(b *strings.Builder, have *savedTable, want *table) {
	wanted := map[string]bool{}
	for _, c := range want.chains {
		wanted[c.name] = true
		b.WriteString(":" + c.name + " - [0:0]\n")
	}
	var stale []string
	for _, name := range have.order {
		if !wanted[name] {
			stale = append(stale, name)
			b.WriteString(":" + name + " - [0:0]\n")
		}
	}
	writeJumps(b, have, want)
	for _, c := range want.chains {
		for _, r := range c.rules {
			b.WriteString("-A " + c.name + " " + r + "\n")
		}
	}
	for _, name := range stale {
		b.WriteString("-X " + name + "\n")
	}
}

// writeJumps leaves a jump alone that is right and there once. New ones go to the
// front: an ACCEPT before them would let traffic past.
func writeJumps(b *strings.Builder, have *savedTable, want *table) {
	var present []jump
	for _, caller := range have.callers {
		i := slices.IndexFunc(want.jumps, func(j jump) bool { return sameJump(caller, j) })
		if i >= 0 && !slices.Contains(present, want.jumps[i]) {
			present = append(present, want.jumps[i])
			continue
		}
		b.WriteString("-D" + strings.TrimPrefix(caller, "-A") + "\n")
	}
	for _, j := range want.jumps {
		if !slices.Contains(present, j) {
			b.WriteString("-I " + j.builtin + " 1 " + j.args() + "\n")
		}
	}
}

// sameJump compares a saved rule with a jump by its words: a comment of one word
// is printed with or without quotes.
func sameJump(saved string, j jump) bool {
	words := strings.Fields(strings.ReplaceAll(saved, `"`, ""))
	return slices.Equal(words, strings.Fields(strings.ReplaceAll("-A "+j.builtin+" "+j.args(), `"`, "")))
}
