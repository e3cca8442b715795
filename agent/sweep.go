package agent

import (
	"context"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/found"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/rest"
)

// How often the node is looked through: always, and while somebody's word is awaited
// of a pod that the holder has brought.
const (
	sweepEvery    = 10 * time.Second
	sweepAwaiting = 250 * time.Millisecond
)

// sweeper looks through the node for namespaces, and asks who knows pods.
type sweeper struct {
	agent *Agent
	nudge chan struct{}
	said  string // the last trouble, so that it is not said again and again

	mu       sync.Mutex
	awaiting map[wire.Netns]time.Time // pods without a name yet, and until when
}

func newSweeper(a *Agent) *sweeper {
	return &sweeper{agent: a, nudge: make(chan struct{}, 1), awaiting: map[wire.Netns]time.Time{}}
}

// expect has the node looked through often, until a pod is known.
func (s *sweeper) expect(pod wire.Netns) {
	if len(s.agent.cfg.Facts) == 0 {
		return
	}
	s.mu.Lock()
	s.awaiting[pod] = time.Now().Add(factsWait)
	s.mu.Unlock()
	s.wake()
}

// wake has a sweep begin soon, after the one that is under way.
func (s *sweeper) wake() {
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

// pause is how long it is to the next sweep.
func (s *sweeper) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for pod, until := range s.awaiting {
		if until.Before(now) {
			delete(s.awaiting, pod)
		}
	}
	if len(s.awaiting) > 0 {
		return sweepAwaiting
	}
	return sweepEvery
}

func (s *sweeper) run(ctx context.Context) { s.often(ctx, s.once) }

// often looks until ctx ends: at its times, and when it is nudged. A nudge that comes alone
// waits for others that come with it, for a fifth of sweepAwaiting. Of those that follow one
// another, as when a pod is annotated again and again, there are sweeps once in sweepAwaiting,
// and for no more than a quarter of the time where nobody's word is awaited.
func (s *sweeper) often(ctx context.Context, look func(context.Context)) {
	var next time.Time // of a sweep by a nudge
	for nudged := false; ; {
		began := time.Now()
		look(ctx)
		if nudged {
			next = began.Add(max(sweepAwaiting, 4*time.Since(began)))
		}
		timer := time.NewTimer(s.pause())
		select {
		case <-ctx.Done():
		case <-timer.C:
			nudged = false
		case <-s.nudge:
			nudged = true
			rest.For(ctx, min(max(sweepAwaiting/5, time.Until(next)), s.pause()))
			select { // what came meanwhile is seen to
			case <-s.nudge:
			default:
			}
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// newest is what is known of a pod with Kubernetes' word of it, where there is one.
func (s *sweeper) newest(f Found) Found {
	if s.agent.cfg.Known != nil {
		if pod, ok := s.agent.cfg.Known(f.Pod); ok {
			f.Pod = pod
		}
	}
	return f
}

func (s *sweeper) once(ctx context.Context) {
	all, err := found.List(ctx)
	if ctx.Err() != nil {
		return
	}
	trouble := ""
	// Runtimes bind pods' namespaces to files: those are all there.
	event := core.Found{Complete: err == nil || err == found.ErrDenied}
	if err != nil {
		trouble = err.Error()
	}
	known := map[wire.Netns]Found{}
	for _, source := range s.agent.cfg.Facts {
		asking, cancel := context.WithTimeout(ctx, factsWait)
		pods, err := source.Pods(asking)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			event.Complete, trouble = false, err.Error()
		}
		for _, p := range pods {
			known[p.Netns] = s.newest(p)
		}
	}
	for _, n := range all {
		pod := core.FoundPod{Pod: n.ID, Path: n.Path, PID: n.PID, Foreign: n.Foreign}
		if f, ok := known[n.ID]; ok {
			pod.Known, pod.Name, pod.DNS, pod.Container = true, f.Pod, f.DNS, f.Container
			delete(known, n.ID)
		}
		event.Pods = append(event.Pods, pod)
	}
	for _, f := range known { // came, or can be reached, since the list was made
		event.Pods = append(event.Pods, core.FoundPod{Pod: f.Netns, Path: f.Path, PID: f.PID, Known: true, Name: f.Pod, DNS: f.DNS, Container: f.Container})
	}
	s.mu.Lock()
	for _, p := range event.Pods {
		if p.Known {
			delete(s.awaiting, p.Pod)
		}
	}
	s.mu.Unlock()
	if trouble != "" && trouble != s.said {
		s.agent.log.Warn("the node could not be looked through wholly; pods that are served stay so", "error", clip(trouble))
	}
	s.said = trouble
	s.agent.loop.tell(event)
}
