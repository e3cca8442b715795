package proxy

import (
	"context"
	"sync"
)

// A chore is work that there is now and then. It has a goroutine only while there is
// some: a node has a Server for each pod, and most of them do nothing.
type chore struct {
	wake chan struct{} // has room for one; whoever does the work takes tokens from it
	do   func(ctx context.Context, c *chore)

	mu    sync.Mutex
	life  context.Context // nil before open and after close
	tasks *sync.WaitGroup
	busy  bool
}

func newChore(do func(context.Context, *chore)) *chore {
	return &chore{wake: make(chan struct{}, 1), do: do}
}

// ring says that there is something to do.
func (c *chore) ring() {
	ring(c.wake)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start()
}

// start is called with mu.
func (c *chore) start() {
	if c.busy || c.life == nil {
		return
	}
	c.busy = true
	life := c.life
	c.tasks.Go(func() { c.do(life, c) })
}

// rests is asked by do when it has nothing left to do: true means that it ends now.
func (c *chore) rests() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.wake) > 0 {
		return false
	}
	c.busy = false
	return true
}

// open lets work begin, with what was rung for before. It ends with ctx, and tasks waits
// for it once the chore is closed.
func (c *chore) open(ctx context.Context, tasks *sync.WaitGroup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life, c.tasks = ctx, tasks
	if len(c.wake) > 0 {
		c.start()
	}
}

// close has no more work begin.
func (c *chore) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life = nil
}
