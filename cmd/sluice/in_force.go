package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// inForce says in an agent's log what is in force after a change: at once, and while one
// follows another what the last one made it, once in pause.
type inForce struct {
	log   *slog.Logger
	pause time.Duration
	now   chan counted // has room for one: the newest
}

// counted are resources in force, and errors in others.
type counted struct{ resources, errors int }

func newInForce(log *slog.Logger) *inForce {
	return &inForce{log: log, pause: 5 * time.Second, now: make(chan counted, 1)}
}

// say does not wait. One at a time may call it.
func (i *inForce) say(s *mesh.Snapshot, errors int) {
	select {
	case <-i.now:
	default:
	}
	i.now <- counted{s.Len(), errors}
}

func (i *inForce) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		select {
		case <-ctx.Done():
			return nil
		case c := <-i.now:
			if c.errors > 0 {
				i.log.Warn("configuration in force; what has errors keeps its last good content", "resources", c.resources, "errors", c.errors)
			} else {
				i.log.Info("configuration in force", "resources", c.resources)
			}
		}
		timer.Reset(i.pause)
	}
}
