package iptables

import "testing"

// What iptables-save prints is data from outside: anybody may have written rules.
func FuzzParseSaved(f *testing.F) {
	f.Add("*nat\n:SLUICE_X - [0:0]\n-A OUTPUT -j SLUICE_X\n-A SLUICE_X -m comment --comment \"a \\\" b\" -j RETURN\nCOMMIT\n")
	f.Add("-A SLUICE_X\n*nat\n-A SLUICE_APPLIED -m comment --comment \"config deflate !!!\" -j RETURN\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := parseSaved(text)
		s.empty()
		if r, found := recordIn(s); found {
			r.Read("")
		}
		for _, table := range s {
			for _, caller := range table.callers {
				if len(Words(caller)) < 2 {
					t.Errorf("%q has no chain", caller)
				}
			}
		}
	})
}
