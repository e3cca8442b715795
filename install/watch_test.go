package install

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// watched is an Installer that watches in a bubble of its own time.
type watched struct {
	dir     string
	log     *bytes.Buffer
	changed chan struct{}
	ready   int
}

func watch(t *testing.T, mode Mode) *watched {
	w := &watched{dir: confDir(t, map[string]string{"10-a.conflist": conflist}), log: &bytes.Buffer{}, changed: make(chan struct{}, 1)}
	i := installer(t, Options{ConfDir: w.dir, Mode: mode, Log: slog.New(slog.NewTextHandler(w.log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		i.Watch(ctx, w.changed, func() { w.ready++ })
	}()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return w
}

// undo is a primary that writes its list again.
func (w *watched) undo(t *testing.T) {
	write(t, filepath.Join(w.dir, "10-a.conflist"), conflist)
	w.changed <- struct{}{}
}

func (w *watched) in(t *testing.T) bool {
	synctest.Wait()
	used, err := used(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(used, "sluice-cni")
}

func TestTheEntryIsRestored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, Append)
		if !w.in(t) || w.ready != 1 {
			t.Fatalf("in %v, ready %d times", w.in(t), w.ready)
		}
		for range 100 { // a primary that is in no hurry is no fight
			w.undo(t)
			if w.in(t) {
				t.Fatal("restored before the directory was quiet")
			}
			time.Sleep(settle)
			if !w.in(t) {
				t.Fatal("not restored")
			}
			time.Sleep(20 * time.Second)
		}
		write(t, filepath.Join(w.dir, "10-a.conflist"), conflist) // unheard
		time.Sleep(resync)
		if !w.in(t) {
			t.Fatal("not restored without word of it")
		}
	})
}

func TestAFightIsNamedAndEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, Append)
		for range fightCount {
			w.undo(t)
			time.Sleep(settle)
			if !w.in(t) {
				t.Fatal("not restored")
			}
		}
		w.undo(t)
		time.Sleep(settle)
		if w.in(t) || !strings.Contains(w.log.String(), "10-a.conflist") || !strings.Contains(w.log.String(), "--mode own") {
			t.Fatalf("in %v; log:\n%s", w.in(t), w.log)
		}
		for pause := firstPause; pause < lastPause/2; pause *= 2 {
			w.undo(t) // and again: nothing is done before the pause is over
			time.Sleep(pause - time.Second)
			if w.in(t) {
				t.Fatal("restored in the middle of a fight")
			}
			time.Sleep(2 * time.Second)
			if !w.in(t) {
				t.Fatalf("not restored %v after the fight", pause)
			}
			w.undo(t)
			time.Sleep(settle)
			if w.in(t) {
				t.Fatal("the fight is forgotten at once")
			}
		}
		time.Sleep(2 * lastPause)
		if !w.in(t) {
			t.Fatal("not restored after the fight")
		}
		time.Sleep(fightTime)
		w.undo(t)
		time.Sleep(settle)
		if !w.in(t) {
			t.Fatal("the fight is never forgotten")
		}
	})
}

func TestAPrimaryThatGoesAndComesIsFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, DropIn)
		old := filepath.Join(w.dir, "10-a.conflist")
		if err := os.Remove(old); err != nil {
			t.Fatal(err)
		}
		w.changed <- struct{}{}
		time.Sleep(settle)
		synctest.Wait()
		if !strings.Contains(w.log.String(), "holds no network configuration") {
			t.Fatalf("log:\n%s", w.log)
		}
		write(t, filepath.Join(w.dir, "05-b.conflist"), strings.Replace(conflist, "podnet", "other", 1))
		w.changed <- struct{}{}
		time.Sleep(settle)
		if !w.in(t) || len(listing(t, w.dir)) != 2 {
			t.Fatalf("in %v, %q", w.in(t), listing(t, w.dir))
		}
		write(t, filepath.Join(w.dir, "05-b.conflist"), "{\"name\":")
		w.changed <- struct{}{}
		time.Sleep(3 * resync)
		synctest.Wait()
		if n := strings.Count(w.log.String(), "unexpected EOF"); n != 1 {
			t.Fatalf("a broken list is said %d times:\n%s", n, w.log)
		}
	})
}

func TestTheBinaryIsLookedAtWithTheEntry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, looks := confDir(t, map[string]string{"10-a.conflist": conflist}), 0
		i := installer(t, Options{ConfDir: dir, Mode: Append, Program: func(context.Context) error { looks++; return nil }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); i.Watch(ctx, nil, nil) }()
		time.Sleep(2*resync + time.Second) // of the bubble's time, which passes when all have done what they do
		cancel()
		<-done
		if looks != 3 {
			t.Errorf("%d looks in two intervals, want 3", looks)
		}
	})
}
