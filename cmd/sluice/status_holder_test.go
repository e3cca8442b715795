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
	o := statusOptions{runDir: dir}
	if err := o.probeHolder(t.Context(), func(int) bool { return true }); err == nil {
		t.Error("ready without a holder")
	}
	for _, mine := range []bool{true, false} {
		holderAnswers(t, dir)
		err := o.probeHolder(t.Context(), func(pid int) bool { return mine && pid == 17 })
		if mine != (err == nil) || err != nil && !strings.Contains(err.Error(), "another container holds the pods: process 17") {
			t.Errorf("mine %t: %v", mine, err)
		}
		if err := os.Remove(filepath.Join(dir, "holder.sock")); err != nil {
			t.Fatal(err)
		}
	}
	if _, errs, code := runSluice(t, "status", "--holder", "--run-dir", dir); code != 2 || !strings.Contains(errs, "goes with --ready") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if _, errs, code := runSluice(t, "status", "--alive", "--ready", "--run-dir", dir); code != 2 || !strings.Contains(errs, "exclude") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
