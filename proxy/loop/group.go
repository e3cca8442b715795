package loop

import (
	"errors"
	"runtime"
	"sync"
)

// Group is the loops that all users of a process share: as many as serve the
// machine, however many users there are. They run from the first Open to the last
// Close. The zero Group is ready.
type Group struct {
	// Size is the number of loops; 0 is half of GOMAXPROCS, and two where there are two
	// processors or three. That much carries what all processors together can bring in,
	// and fewer loops find more work in each turn, which makes a turn cheaper; but a
	// single loop that loses its processor to another program holds up everybody.
	Size int

	mu    sync.Mutex
	users int
	loops []*Loop
}

// Open returns the running loops. On an error there are none, and nothing to close.
func (g *Group) Open() ([]*Loop, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users == 0 {
		if err := g.start(); err != nil {
			return nil, err
		}
	}
	g.users++
	return g.loops, nil
}

func (g *Group) start() error {
	size := g.Size
	if size == 0 {
		size = max(runtime.GOMAXPROCS(0)/2, min(2, runtime.GOMAXPROCS(0)))
	}
	var errs []error
	for range size {
		l, err := New()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		g.loops = append(g.loops, l)
		go l.Run()
	}
	if len(g.loops) == 0 { // one that works is enough
		return errors.Join(errs...)
	}
	return nil
}

// Close ends a user's part; nothing of it may be in the loops any more.
func (g *Group) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users--; g.users > 0 {
		return
	}
	for _, l := range g.loops {
		l.Close()
	}
	g.loops = nil
}
