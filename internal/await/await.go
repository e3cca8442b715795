// Package await is how tests wait for what happens beside them: by asking again and
// again, since a kernel, a server or another process tells nobody.
package await

import (
	"testing"
	"time"
)

// Patience bounds every wait. It is long since the machine may be busy: only a test
// that fails takes it.
const Patience = time.Minute

// The pause before asking again is as long as the answer took, so that a costly question,
// such as one that runs a program, leaves the machine to what is waited for.
const (
	leastPause = 2 * time.Millisecond
	mostPause  = 100 * time.Millisecond
)

// Within asks until something holds, for no longer than limit, and reports whether it
// did.
func Within(limit time.Duration, holds func() bool) bool {
	for end := time.Now().Add(limit); ; {
		asked := time.Now()
		if holds() {
			return true
		}
		now := time.Now()
		if now.After(end) {
			return false
		}
		time.Sleep(min(max(now.Sub(asked), leastPause), mostPause))
	}
}

// True asks until something holds. It ends the test that waits in vain with what was
// to hold.
func True(t testing.TB, what string, holds func() bool) {
	t.Helper()
	if !Within(Patience, holds) {
		t.Fatalf("not within %v: %s", Patience, what)
	}
}

// Silence asks until complaint has nothing to say. It ends the test that waits in vain
// with what it said last.
func Silence(t testing.TB, complaint func() string) {
	t.Helper()
	last := ""
	if !Within(Patience, func() bool { last = complaint(); return last == "" }) {
		t.Fatalf("after %v: %s", Patience, last)
	}
}

// tries is how often Fastest does what takes too long.
const tries = 10

// Fastest does something until it takes less than limit, and says how long it took: for
// what takes longer every time or never. A busy machine holds some tries up, not all.
func Fastest(limit time.Duration, do func()) time.Duration {
	for try := 1; ; try++ {
		began := time.Now()
		do()
		if took := time.Since(began); took < limit || try == tries {
			return took
		}
	}
}
