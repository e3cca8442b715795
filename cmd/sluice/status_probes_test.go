package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The holder's socket is handed on from one to the next: the answer says whose it is.
func TestAProbeTellsWhoseHolderHolds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := holderReady(t.Context(), dir, func(int) bool { return true }); err == nil {
		t.Error("ready without a holder")
	}
	for _, mine := range []bool{true, false} {
		holderAnswers(t, dir)
		err := holderReady(t.Context(), dir, func(pid int) bool { return mine && pid == 17 })
		if mine != (err == nil) || err != nil && !strings.Contains(err.Error(), "another container holds the pods: process 17") {
			t.Errorf("mine %t: %v", mine, err)
		}
		if err := os.Remove(filepath.Join(dir, "holder.sock")); err != nil {
			t.Fatal(err)
		}
	}
}
