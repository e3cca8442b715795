package install

import (
	"errors"
	"fmt"
	"time"
)

var (
	errPatience = errors.New("waited long enough")
	errUndone   = errors.New("the entry went again before the runtime had loaded it")
)

// More than fightCount restorations within fightTime are a fight: two programs that
// undo each other would keep the runtime reading for ever. The entry is then left as it
// is for a while, at first a short one, since a primary that starts writes several times.
const (
	fightCount = 5
	fightTime  = time.Minute
	firstPause = 5 * time.Second
	lastPause  = time.Minute
)

// fights counts how often our entry had to be restored.
type fights struct {
	restored []time.Time
	pause    time.Duration // the last
}

// wait notes that the entry was found gone, and says how long to leave it so.
func (f *fights) wait(now time.Time) time.Duration {
	recent := f.restored[:0]
	for _, t := range f.restored {
		if now.Sub(t) < fightTime {
			recent = append(recent, t)
		}
	}
	f.restored = recent
	if len(recent) == 0 {
		f.pause = 0
	}
	if len(recent) >= fightCount {
		f.pause = min(max(2*f.pause, firstPause), lastPause)
		return f.pause
	}
	f.note(now)
	return 0
}

// note counts a restoration.
func (f *fights) note(now time.Time) { f.restored = append(f.restored, now) }

// advice is what an operator can do about the program whose plugin is first.
func advice(owner string) string {
	switch owner {
	case "cilium-cni":
		return "set cni.exclusive=false in Cilium's chart"
	case "multus", "multus-shim":
		return "let --conf-dir be where Multus finds the configuration that it delegates to"
	}
	return fmt.Sprintf("find what writes the configuration of %q, and have it keep entries of others, or use --mode own", owner)
}
