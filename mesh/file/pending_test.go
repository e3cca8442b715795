package file

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/inotify"
	"golang.org/x/sys/unix"
)

func TestOnlyWhatMayBeWrittenToStillIsWaitedFor(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	tests := map[string]struct {
		events []inotify.Event
		names  string
		wait   time.Duration
		all    bool
		lost   bool
	}{
		"renamed into place":        {[]inotify.Event{event(".tmp", unix.IN_CREATE), event(".tmp", unix.IN_MODIFY), event(".tmp", unix.IN_MOVED_FROM), event("a.yaml", unix.IN_MOVED_TO)}, "a.yaml", 0, false, false},
		"written":                   {[]inotify.Event{event("a.yaml", unix.IN_MODIFY)}, "a.yaml", settleTime, false, false},
		"renamed, then written":     {[]inotify.Event{event("a.yaml", unix.IN_MOVED_TO), event("a.yaml", unix.IN_MODIFY)}, "a.yaml", settleTime, false, false},
		"deleted":                   {[]inotify.Event{event("a.yaml", unix.IN_DELETE)}, "a.yaml", settleTime, false, false},
		"moved":                     {[]inotify.Event{event("a.yaml", unix.IN_MOVED_FROM), event("b.yaml", unix.IN_MOVED_TO)}, "a.yaml b.yaml", settleTime, false, false},
		"a mount published anew":    {[]inotify.Event{event("..v2", unix.IN_CREATE|unix.IN_ISDIR), event("..data", unix.IN_MOVED_TO)}, "", settleTime, true, false},
		"events lost":               {[]inotify.Event{event("", unix.IN_Q_OVERFLOW)}, "", 0, false, true},
		"the directory went":        {[]inotify.Event{event("", unix.IN_MOVE_SELF)}, "", 0, false, true},
		"nothing that is resources": {[]inotify.Event{event("notes.txt", unix.IN_MODIFY), event(".a.yaml.swp", unix.IN_CREATE), event("..v1", unix.IN_DELETE)}, "", 0, false, false},
	}
	for name, tt := range tests {
		var p pending
		for _, e := range tt.events {
			p.add(e, start)
		}
		got := strings.Join(slices.Sorted(maps.Keys(p.names)), " ")
		if got != tt.names || p.wait(start) != tt.wait || p.all != tt.all || p.lost != tt.lost {
			t.Errorf("%s: %+v, wait %s", name, p, p.wait(start))
		}
	}
}

func TestADirectoryThatIsNeverQuietIsReadAllTheSame(t *testing.T) {
	t.Parallel()
	var p pending
	now := time.Unix(1000, 0)
	for range 100 {
		p.add(event("a.yaml", unix.IN_MODIFY), now)
		now = now.Add(settleTime / 2)
	}
	if wait := p.wait(now); wait != 0 {
		t.Errorf("waits for %s still", wait)
	}
}

func event(name string, mask uint32) inotify.Event { return inotify.Event{Name: name, Mask: mask} }
