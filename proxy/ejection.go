package proxy

import (
	"errors"
	"fmt"
	"time"
)

// ejection is what made outlier detection leave a target out. As an error it is that all of
// a fleet are. It has the failure's words, not the failure: that may hold what a server has
// sent, such as its certificates.
type ejection struct {
	at        time.Time
	failure   string // the last one's words
	transport string // the same as the access log has it, where no connection could be made
	hint      string // what to do about it, "" where the words say all there is
}

// maxFailure bounds what is kept of a failure's words, in bytes.
const maxFailure = 512

// ejection describes the try that was one failure too many.
func (u *upstream) ejection(what outcome, why error, now time.Time) *ejection {
	if why == nil {
		return &ejection{at: now, failure: fmt.Sprintf("it answered %d", what)}
	}
	by := &ejection{at: now, failure: clip(why.Error(), maxFailure), hint: u.server.hint(why, u.latest())}
	var ce *connectError
	if errors.As(why, &ce) {
		by.transport = clip(ce.reason(), maxFailure)
	}
	return by
}

func (e *ejection) Error() string {
	return "every endpoint is ejected (outlierDetection); the last failure: " + e.failure
}

// lastEjection is the last of those that are in force.
func (f *fleet) lastEjection(now int64) *ejection {
	last := new(ejection)
	for i := range f.members {
		if m := &f.members[i]; m.ejected(now) {
			if by := m.by.Load(); !by.at.Before(last.at) {
				last = by
			}
		}
	}
	return last
}
