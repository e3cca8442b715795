package proxy

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
)

// However rings and rests meet, what was rung for is done, by one at a time, and nobody
// stays when there is nothing to do.
func TestAChoreIsDoneAndLeavesNobody(t *testing.T) {
	t.Parallel()
	var wanted, done, doing atomic.Int64
	c := newChore(func(ctx context.Context, c *chore) {
		if doing.Add(1) != 1 {
			t.Error("two do it at a time")
		}
		defer doing.Add(-1)
		for !c.rests() {
			select {
			case <-c.wake:
				done.Store(wanted.Load())
			case <-ctx.Done():
				return
			}
		}
	})
	wanted.Add(1)
	c.ring() // before it is open
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var tasks, ringing sync.WaitGroup
	c.open(ctx, &tasks)
	for range 8 {
		ringing.Go(func() {
			for range 2000 {
				wanted.Add(1)
				c.ring()
			}
		})
	}
	ringing.Wait()
	c.close()
	tasks.Wait() // nobody cancelled: they rest
	if done.Load() != wanted.Load() {
		t.Errorf("%d of %d done", done.Load(), wanted.Load())
	}
	c.ring()
	tasks.Wait()
	if done.Load() != wanted.Load() {
		t.Error("done after close")
	}
}
