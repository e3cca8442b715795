package kube

import (
	"context"
	"time"
)

// gather is how long changes gather before a file of them is written.
const gather = 200 * time.Millisecond

// later has a file written some time after a change of what it holds: it has room for
// one token.
type later chan struct{}

func newLater() later { return make(later, 1) }

// touch says that there was a change. It does not wait.
func (l later) touch() {
	select {
	case l <- struct{}{}:
	default:
	}
}

// run writes after changes until ctx ends. What write finds wrong is said, but not again
// and again.
func (l later) run(ctx context.Context, write func() (wrong string), say func(wrong string)) {
	said := ""
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l:
		}
		pause.Reset(gather)
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		wrong := write()
		if wrong != "" && wrong != said {
			say(wrong)
		}
		said = wrong
	}
}
