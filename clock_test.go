package sluice_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What decides about pods has no clock of its own, so that a jump of the machine's
// changes nothing: time comes with events, from a clock that only goes forward.
func TestWhatDecidesAboutPodsReadsNoClock(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"agent/core", "holder/core"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, path := range files {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(path, "_test.go") && strings.Contains(string(content), "time.Now") {
				t.Errorf("%s reads a clock", path)
			}
		}
	}
}
