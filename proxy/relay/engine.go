package relay

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what an Engine may be told; its zero value is useful.
type Config struct {
	// Loops move the bytes, each a goroutine; default one per processor, at the most two.
	Loops int
	// IdleTimeout ends a pair over which no byte has moved for so long; default
	// one hour, Envoy's for TCP; negative: never.
	IdleTimeout time.Duration
	// MaxPipes bounds the pipes, each two descriptors and up to 1 MiB of kernel
	// memory; default 64. Beyond them bulk is moved by read and write.
	MaxPipes int
	// MaxBuffered bounds the bytes that were read and that the other side did not
	// take yet, of all pairs together; default 16 MiB. Beyond it bytes are left in
	// the socket until they can be passed on, at the cost of one more system call.
	MaxBuffered int64
}

// Engine moves the bytes of pairs. Its loops begin with the first pair.
type Engine struct {
	cfg      Config
	buffered atomic.Int64
	pipes    atomic.Int64
	next     atomic.Uint32

	mu     sync.RWMutex // held by Carry while it begins, so that Close meets whole pairs only
	loops  []*loop
	closed bool
	stop   context.CancelFunc
	ended  sync.WaitGroup
}

// New makes an engine; Close ends it.
func New(cfg Config) *Engine {
	if cfg.Loops <= 0 {
		cfg.Loops = min(2, runtime.GOMAXPROCS(0))
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = time.Hour
	}
	if cfg.MaxPipes == 0 {
		cfg.MaxPipes = 64
	}
	if cfg.MaxBuffered == 0 {
		cfg.MaxBuffered = 16 << 20
	}
	return &Engine{cfg: cfg}
}

// Side is one of the two sockets of a pair.
type Side struct {
	FD    int    // a connected, non-blocking TCP socket; Carry owns it from now on
	Ahead []byte // was read from it already and goes to the other side first
}

// Carry moves bytes between a and b until both directions have ended, then closes
// both and calls done, once, from another goroutine. done must not wait. An error
// says that nothing was begun: both sockets are still the caller's.
func (e *Engine) Carry(a, b Side, done func(Result)) (*Pair, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.loops == nil && !e.closed {
		e.mu.RUnlock()
		err := e.start()
		e.mu.RLock()
		if err != nil {
			return nil, err
		}
	}
	if e.closed {
		return nil, ErrClosed
	}
	p := &Pair{loop: e.loops[e.next.Add(1)%uint32(len(e.loops))], done: done}
	p.sides[0].fd, p.sides[1].fd = a.FD, b.FD
	if err := p.begin(a.Ahead, b.Ahead); err != nil {
		return nil, err
	}
	return p, nil
}

// ErrClosed is what Carry returns after Close.
var ErrClosed = errors.New("the relay engine is closed")

// start begins the loops, unless another call has.
func (e *Engine) start() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.loops != nil || e.closed {
		return nil
	}
	for range e.cfg.Loops {
		l, err := newLoop(e)
		if err != nil {
			for _, other := range e.loops {
				other.release()
			}
			e.loops = nil
			return err
		}
		e.loops = append(e.loops, l)
	}
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	for _, l := range e.loops {
		e.ended.Go(l.run)
	}
	if e.cfg.IdleTimeout > 0 {
		e.ended.Go(func() { e.sweep(ctx) })
	}
	return nil
}

// sweep ends pairs that were idle for too long. It looks often enough for a pair
// to live no more than 1/8 longer than it may.
func (e *Engine) sweep(ctx context.Context) {
	tick := time.NewTicker(max(e.cfg.IdleTimeout/8, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			now := clock()
			for _, p := range e.pairs() {
				p.expire(now, e.cfg.IdleTimeout)
			}
		}
	}
}

func (e *Engine) pairs() (all []*Pair) {
	for _, l := range e.loops {
		all = l.pairs.append(all)
	}
	return all
}

// Stats are what an engine holds at this moment.
type Stats struct {
	Pairs    int   // under way
	Pipes    int   // open, lent or not
	Buffered int64 // bytes in memory; those in pipes do not count
	Turns    int64 // how often a loop found something to do
}

// Stats counts what the engine holds.
func (e *Engine) Stats() Stats {
	e.mu.RLock()
	defer e.mu.RUnlock()
	s := Stats{Pairs: len(e.pairs()), Pipes: int(e.pipes.Load()), Buffered: e.buffered.Load()}
	for _, l := range e.loops {
		s.Turns += l.turns.Load()
	}
	return s
}

// Close resets the pairs that are left and ends the loops. Carry fails from now on.
func (e *Engine) Close() {
	e.mu.Lock()
	first := !e.closed
	e.closed = true
	loops := e.loops
	e.mu.Unlock()
	if !first || loops == nil {
		return
	}
	e.stop()
	for _, p := range e.pairs() {
		p.Cut()
	}
	for _, l := range loops {
		l.stop()
	}
	e.ended.Wait()
	for _, l := range loops {
		l.release()
	}
}
