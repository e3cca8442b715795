package file

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
)

// A change that is told of just when the process stops must not keep it from stopping.
func TestAStopBetweenANotificationAndTheLookAtItEnds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir, Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := newWatch(ctx, s)
	write(t, dir, "a.yaml", entryYAML("a"))
	if _, ok := <-w.ready(); !ok {
		t.Fatal("no notification")
	}
	cancel()
	<-w.ended
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.take()
		w.again()
	}()
	select {
	case <-done:
	case <-time.After(await.Patience):
		t.Fatal("whoever follows the directory waits for ever")
	}
	w.close()
}
