package inotify_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/inotify"
)

// A directory that comes, is written to, is replaced, goes and comes again.
func TestEveryChangeOfADirectoryIsTold(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "watched")
	ctx, cancel := context.WithCancel(context.Background())
	changes := inotify.Changes(ctx, dir)
	step := func(what string, change func() error) {
		t.Helper()
		for len(changes) > 0 {
			<-changes
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changes:
		case <-time.After(await.Patience):
			t.Fatalf("%s: nothing was told", what)
		}
	}
	write := func(name string) func() error {
		return func() error { return os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600) }
	}
	step("made", func() error { return os.Mkdir(dir, 0o700) })
	step("a file", write("a"))
	step("a file removed", func() error { return os.Remove(filepath.Join(dir, "a")) })
	step("moved away", func() error { return os.Rename(dir, dir+".old") })
	step("another in its place", func() error { return os.Mkdir(dir, 0o700) })
	step("a file in that", write("b"))
	cancel()
	for range changes { // until it is closed
	}
}
