package main

import (
	"context"
	"log/slog"

	"github.com/sluice-cni/sluice/internal/inotify"
)

// directoryEvents has a value after something happened in a directory, until ctx
// ends. Nil where the system gives no more notifications: who asked looks now and
// then instead, and says so here.
func directoryEvents(ctx context.Context, dir string, log *slog.Logger) <-chan struct{} {
	w, err := inotify.New()
	if err == nil {
		if err = w.Add(dir); err != nil {
			w.Close()
		}
	}
	if err != nil {
		log.Warn("no notifications of changes: the directory is looked at now and then", "directory", dir, "error", err)
		return nil
	}
	events := make(chan struct{}, 1)
	go w.Run(ctx)
	go func() {
		defer close(events)
		defer w.Close()
		for {
			select {
			case <-ctx.Done():
				return
			case _, more := <-w.Ready():
				if !more {
					return
				}
			}
			lost := false
			w.Drain(func(e inotify.Event) { lost = lost || e.Name == "" && e.Mask&inotify.Itself != 0 })
			if lost {
				_ = w.Add(dir) // without it the directory is looked at now and then
			}
			w.Again()
			select {
			case events <- struct{}{}:
			default: // one is waiting
			}
		}
	}()
	return events
}
