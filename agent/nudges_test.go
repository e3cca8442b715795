package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
)

// sweeping has a sweeper look without end, each look taking so long, and gives the times at
// which it looked.
func sweeping(t *testing.T, takes time.Duration) (s *sweeper, looked func() []time.Duration) {
	s = newSweeper(&Agent{})
	ctx, stop := context.WithCancel(t.Context())
	begun, at, ended := time.Now(), []time.Duration(nil), make(chan struct{})
	go func() {
		defer close(ended)
		s.often(ctx, func(context.Context) {
			at = append(at, time.Since(begun))
			time.Sleep(takes)
		})
	}()
	t.Cleanup(func() { stop(); <-ended })
	return s, func() []time.Duration {
		synctest.Wait()
		return at
	}
}

func TestALoneNudgeIsSeenToAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, looked := sweeping(t, 20*time.Millisecond)
		time.Sleep(30 * time.Millisecond) // after the first look
		for range 3 {
			s.wake()
			time.Sleep(10 * time.Second)
		}
		at := looked()
		for i, want := range []time.Duration{0, 80 * time.Millisecond, 10*time.Second + 80*time.Millisecond} {
			if got := nearest(at, want); got != want {
				t.Errorf("nudge %d: a look at %v, not at %v; all of them: %v", i, got, want, at)
			}
		}
	})
}

func nearest(all []time.Duration, to time.Duration) (best time.Duration) {
	for _, d := range all {
		if (d - to).Abs() < (best - to).Abs() {
			best = d
		}
	}
	return best
}

// A pod's author annotates it a hundred times a second.
func TestNudgesWithoutEndLeaveTheNodeAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		takes    time.Duration
		awaiting bool
		most     int
	}{
		"a look of 20 ms":                    {20 * time.Millisecond, false, 42},
		"a look of 200 ms":                   {200 * time.Millisecond, false, 14},
		"a look of 200 ms, a pod is awaited": {200 * time.Millisecond, true, 42},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, looked := sweeping(t, c.takes)
				if c.awaiting {
					s.mu.Lock()
					s.awaiting[wire.Netns{}] = time.Now().Add(time.Minute)
					s.mu.Unlock()
				}
				for range 1000 {
					s.wake()
					time.Sleep(10 * time.Millisecond)
				}
				if n := len(looked()); n > c.most || n < c.most/2 {
					t.Errorf("%d looks in 10 s, not about %d", n, c.most)
				}
			})
		})
	}
}
