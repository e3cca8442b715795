package main

import "testing"

// The entry that is installed where nobody says another must be one: it says "auto" of
// ranges that are known only later.
func TestTheEntryForANodeCanBeUsed(t *testing.T) {
	t.Parallel()
	if _, err := (installOptions{}).readEntry(newInstallCommand()); err != nil {
		t.Error(err)
	}
}
