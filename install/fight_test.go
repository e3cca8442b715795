package install

import (
	"context"
	"testing"
	"time"
)

// A fight that has ended is over: the next one is held back for a short while at first.
func TestTheNextFightBeginsAnew(t *testing.T) {
	t.Parallel()
	var f fights
	now := time.Now()
	for fight := range 2 {
		for range fightCount {
			if wait := f.wait(now); wait != 0 {
				t.Errorf("fight %d: held back for %v before it is one", fight, wait)
			}
		}
		for _, want := range []time.Duration{firstPause, 2 * firstPause, 4 * firstPause} {
			if wait := f.wait(now); wait != want {
				t.Errorf("fight %d: held back for %v, want %v", fight, wait, want)
			}
		}
		now = now.Add(fightTime)
	}
}

// What a runtime is does not change because it is away.
func TestARuntimeThatIsAwayIsWhatItWas(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{"v2.1.4": true, "1.7.0": false} {
		i := &Installer{Options: Options{Mode: Auto, Runtime: containerd{version: version}}}
		before, why := i.ask(context.Background())
		i.Runtime = containerd{}
		if after, still := i.ask(context.Background()); before != want || after != want || still != why {
			t.Errorf("%s: %t (%s), away: %t (%s)", version, before, why, after, still)
		}
	}
	i := &Installer{Options: Options{Mode: Auto, Runtime: containerd{}}}
	if reads, why := i.ask(context.Background()); reads || why != "the runtime did not say what it is: connection refused" {
		t.Errorf("never asked before: %t, %s", reads, why)
	}
}
