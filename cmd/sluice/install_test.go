package main

import "testing"

// The entry that is installed where nobody says another must be one: its ranges are
// those of the cluster, which may be known only later.
func TestTheEntryForANodeCanBeUsed(t *testing.T) {
	t.Parallel()
	if _, err := (installOptions{}).readEntry(newInstallCommand()); err != nil {
		t.Error(err)
	}
}
