// Package progress tells whoever waits at a terminal what a run of clusters does.
package progress

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"
)

var (
	wanted = flag.Bool("progress", false, "print each step, and how many seconds it took, as it is done")
	last   = time.Now()
)

// Step says that something is done: in the test's log, and with -progress at once, with
// the seconds since the step before it.
func Step(t testing.TB, format string, args ...any) {
	t.Helper()
	t.Logf(format, args...)
	Print(format, args...)
}

// Print is Step where there is no test.
func Print(format string, args ...any) {
	if !*wanted {
		return
	}
	fmt.Fprintf(os.Stdout, "%5.1f s  %s\n", time.Since(last).Seconds(), fmt.Sprintf(format, args...))
	last = time.Now()
}

// Show prints text as it is, where steps are printed: what a person would see who did by
// hand what a test does.
func Show(text string) {
	if *wanted {
		fmt.Fprintln(os.Stdout, text)
	}
}
