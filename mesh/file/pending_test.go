package file

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOnlyWhatMayBeWrittenToStillIsWaitedFor(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	tests := map[string]struct {
		events []event
		names  string
		wait   time.Duration
		all    bool
		lost   bool
	}{
		"renamed into place":        {[]event{{".tmp", unix.IN_CREATE}, {".tmp", unix.IN_MODIFY}, {".tmp", unix.IN_MOVED_FROM}, {"a.yaml", unix.IN_MOVED_TO}}, "a.yaml", 0, false, false},
		"written":                   {[]event{{"a.yaml", unix.IN_MODIFY}}, "a.yaml", settleTime, false, false},
		"renamed, then written":     {[]event{{"a.yaml", unix.IN_MOVED_TO}, {"a.yaml", unix.IN_MODIFY}}, "a.yaml", settleTime, false, false},
		"deleted":                   {[]event{{"a.yaml", unix.IN_DELETE}}, "a.yaml", settleTime, false, false},
		"moved":                     {[]event{{"a.yaml", unix.IN_MOVED_FROM}, {"b.yaml", unix.IN_MOVED_TO}}, "a.yaml b.yaml", settleTime, false, false},
		"a mount published anew":    {[]event{{"..v2", unix.IN_CREATE | unix.IN_ISDIR}, {"..data", unix.IN_MOVED_TO}}, "", settleTime, true, false},
		"events lost":               {[]event{{"", unix.IN_Q_OVERFLOW}}, "", 0, false, true},
		"the directory went":        {[]event{{"", unix.IN_MOVE_SELF}}, "", 0, false, true},
		"nothing that is resources": {[]event{{"notes.txt", unix.IN_MODIFY}, {".a.yaml.swp", unix.IN_CREATE}, {"..v1", unix.IN_DELETE}}, "", 0, false, false},
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
		p.add(event{"a.yaml", unix.IN_MODIFY}, now)
		now = now.Add(settleTime / 2)
	}
	if wait := p.wait(now); wait != 0 {
		t.Errorf("waits for %s still", wait)
	}
}
