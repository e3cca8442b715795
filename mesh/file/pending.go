package file

import (
	"strings"
	"time"

	"github.com/sluice-cni/sluice/internal/inotify"
	"golang.org/x/sys/unix"
)

// pending is what notifications told and nobody has looked at yet.
type pending struct {
	names  map[string]bool // files
	unsure map[string]bool // files that were touched a moment before they were looked at
	all    bool            // every file may be another: a mount was published anew
	lost   bool            // events were lost, or the directory went
	// since and last are when the first and the last thing was told of a file that may
	// be written to still; zero without one. What was renamed into place is whole.
	since, last time.Time
}

func (p *pending) none() bool {
	return len(p.names)+len(p.unsure) == 0 && !p.all && !p.lost
}

// add takes an event in.
func (p *pending) add(e inotify.Event, now time.Time) {
	switch {
	case e.Mask&inotify.Itself != 0:
		p.lost = true
		return
	case isResourceFile(e.Name):
		put(&p.names, e.Name)
	case strings.HasPrefix(e.Name, "..") && e.Mask&(unix.IN_MOVED_TO|unix.IN_CREATE) != 0:
		p.all = true // a ConfigMap mount swaps the link that all its files lead through
	default:
		return
	}
	if e.Mask&unix.IN_MOVED_TO == 0 {
		p.settle(now)
	}
}

// later takes in files that were left for the next look.
func (p *pending) later(names []string, now time.Time) {
	for _, name := range names {
		put(&p.unsure, name)
		p.settle(now)
	}
}

func (p *pending) settle(now time.Time) {
	p.last = now
	if p.since.IsZero() {
		p.since = now
	}
}

// wait is how long to leave it alone still.
func (p *pending) wait(now time.Time) time.Duration {
	if p.since.IsZero() {
		return 0
	}
	return max(0, min(settleTime-now.Sub(p.last), maxSettleTime-now.Sub(p.since)))
}

// look says what to look at.
func (p *pending) look() look {
	return look{dirty: p.names, names: p.unsure, list: p.all || p.lost, every: p.all || p.lost, cautious: !p.all}
}

func put(set *map[string]bool, name string) {
	if *set == nil {
		*set = make(map[string]bool)
	}
	(*set)[name] = true
}
