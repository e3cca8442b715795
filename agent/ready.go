package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/internal/remedy"
)

// turnWithin is how long the core may take to answer before it is taken for hung.
const turnWithin = 5 * time.Second

// Healthy says that the core's goroutine turns.
func (a *Agent) Healthy() error {
	ctx, cancel := context.WithTimeout(context.Background(), turnWithin)
	defer cancel()
	if a.loop.ask(ctx, func(*core.State) {}) != nil {
		return errors.New("the agent's core does not answer")
	}
	return nil
}

// Ready says what keeps the agent from serving the node, nil when nothing does. No
// single pod's trouble is among it: a node is not unready for one pod.
func (a *Agent) Ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), turnWithin)
	defer cancel()
	var s core.Status
	if a.loop.ask(ctx, func(state *core.State) { s = state.Status() }) != nil {
		return errors.New("the agent's core does not answer")
	}
	return a.notReady(s)
}

// Serving is who of a node's agents answers, and whether it serves.
type Serving struct {
	PID      int    `json:"pid"`
	Instance string `json:"instance,omitempty"` // as in NodeStatus
	NotReady string `json:"notReady,omitempty"` // what is missing; "" when nothing is
}

// Serving is Ready, and whose word it is.
func (a *Agent) Serving() Serving {
	s := Serving{PID: os.Getpid(), Instance: a.cfg.Instance}
	if err := a.Ready(); err != nil {
		s.NotReady = err.Error()
	}
	return s
}

func (a *Agent) notReady(s core.Status) error {
	text := ""
	switch {
	case s.Retired:
		return errors.New("another agent has taken over, or this one was told to end")
	case s.Leaving:
		return errors.New("no pod is governed, since sluice is being uninstalled; " + remedy.Here().Say(remedy.Left))
	case !s.Connected:
		return errors.New(noHolder())
	case !s.Decides:
		text = "no policy yet, by which pods are selected; its source has not spoken"
	case !s.Ready:
		text = "pods are still being taken over"
	default:
		return nil
	}
	if c, _ := a.cluster(); c.String() != "" {
		text += "; " + c.String()
	}
	return errors.New(text)
}

func noHolder() string { return "no session with the holder; " + remedy.Here().Say(remedy.Holder) }

// unsettled says why pods may be captured that the agent does not know of, or not how.
func unsettled(s core.Status) string {
	switch {
	case s.Settled:
		return ""
	case s.Retired:
		return "another agent has taken over, or this one was told to end"
	case !s.Connected:
		return noHolder()
	}
	return "pods are still being found and their rules read"
}

func goroutines() int { return runtime.NumGoroutine() }

// descriptors are the open files of this process, 0 where they cannot be counted.
func descriptors() int {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0
	}
	return len(names) - 1 // but for the directory itself
}

// Health answers /healthz by whether the core turns, and leaves everything else to
// others, /readyz (which asks Ready) and /metrics among it.
func (a *Agent) Health(others http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", others)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := a.Healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}
