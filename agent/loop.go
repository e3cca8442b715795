package agent

import (
	"context"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
)

// loop is the goroutine that the core lives on. Events come to it in the order in which
// they were told, and its actions leave it to be performed elsewhere: it never waits.
type loop struct {
	state   *core.State
	begun   time.Time
	inbox   *queue[any] // core.Event, or func(*core.State)
	perform func(core.Action)
	news    func(core.News)
	alive   func() // called every aliveEvery, from here: a core that hangs is not alive
}

const aliveEvery = 5 * time.Second // wire.AliveEvery

func newLoop(s core.Settings) *loop {
	return &loop{state: core.New(s), begun: time.Now(), inbox: newQueue[any](), news: func(core.News) {}}
}

func (l *loop) tell(e core.Event) { l.inbox.put(e) }

// ask has f look at the state. It returns when f has, or with ctx's error.
func (l *loop) ask(ctx context.Context, f func(*core.State)) error {
	done := make(chan struct{})
	l.inbox.put(func(s *core.State) {
		defer close(done)
		if ctx.Err() == nil {
			f(s)
		}
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		// f may run still: it must have been told by ctx, and touch nothing that its
		// asker does. Wait for the turn it has, which is short.
		return ctx.Err()
	}
}

// now is the core's clock: monotonic, and never 0.
func (l *loop) now() int64 { return int64(time.Since(l.begun)) + 1 }

func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	beat := time.NewTicker(aliveEvery)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.inbox.ready:
			for _, v := range l.inbox.take() {
				switch v := v.(type) {
				case core.Event:
					l.step(v)
				case func(*core.State):
					v(l.state)
				}
			}
		case <-timer.C:
			l.step(core.Tick{})
		case <-beat.C:
			l.alive()
		}
		if at, wanted := l.state.Next(); wanted {
			timer.Reset(time.Duration(max(0, at-l.now())))
		}
	}
}

func (l *loop) step(e core.Event) {
	for _, a := range l.state.Step(l.now(), e) {
		l.perform(a)
	}
	for _, n := range l.state.TakeNews() {
		l.news(n)
	}
}
