package kubeapi

import (
	"errors"
	"testing"
	"time"
)

// A server that starts refuses what it will allow: only one that has refused for a while
// means it.
func TestARefusalStandsAfterAWhile(t *testing.T) {
	t.Parallel()
	f, w := testFeed(t, "")
	forbidden := &Error{Is: ErrForbidden, Text: "forbidden"}
	for range 2 * refusedTimes {
		f.failed(w, forbidden)
	}
	if w.complete || w.err == nil {
		t.Errorf("refused within a moment: complete %t, error %v", w.complete, w.err)
	}
	w.refusedAt = time.Now().Add(-refusedFor)
	f.failed(w, forbidden)
	if !w.complete {
		t.Error("refused for as long as it takes: not complete")
	}
}

// That a server is away says less than why it did not show a kind before.
func TestAServerThatGoesAwayHidesNoRefusal(t *testing.T) {
	t.Parallel()
	f, w := testFeed(t, "")
	f.failed(w, &Error{Is: ErrForbidden, Text: "forbidden"})
	f.failed(w, &Error{Is: ErrUnreachable, Text: "away"})
	if since, _ := f.Away(); since.IsZero() || !errors.Is(w.err, ErrForbidden) {
		t.Errorf("away since %v, error %v", since, w.err)
	}
	f.followed(w)
	if since, _ := f.Away(); !since.IsZero() || w.err != nil {
		t.Errorf("followed: away since %v, error %v", since, w.err)
	}
}

// A kind of which there is nothing is known too: a file says so, but only of one whose
// list has come.
func TestAKindThatIsEmptyIsWrittenDown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		complete bool
		refusals int
		want     bool
	}{{true, 0, true}, {false, 0, false}, {true, 3, false}} {
		_, w := testFeed(t, "")
		w.journal = w.journalFor(t.TempDir())
		w.complete, w.refusals = c.complete, c.refusals
		if w.told(Delta{}); w.journal.due != c.want {
			t.Errorf("%+v: to be written %t", c, w.journal.due)
		}
	}
}
