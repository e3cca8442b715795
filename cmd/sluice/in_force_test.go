package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// A storm of changes has a line now and then, and one for what it ended with.
func TestAStormOfChangesIsNoStormOfLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		i := newInForce(slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		go i.run(ctx)
		lines := func() int { synctest.Wait(); return strings.Count(log.String(), "\n") }
		i.say(new(mesh.Snapshot), 0)
		if lines() != 1 {
			t.Fatalf("the first is not said at once:\n%s", log.String())
		}
		for n := range 200 { // ten seconds of twenty a second
			time.Sleep(50 * time.Millisecond)
			i.say(new(mesh.Snapshot), n)
		}
		time.Sleep(i.pause)
		if n := lines(); n > 4 || !strings.Contains(log.String(), "errors=199") {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
		cancel()
		synctest.Wait()
	})
}
