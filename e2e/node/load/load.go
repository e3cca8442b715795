// Package load makes connections at a steady rate and remembers of each failure when
// its connection began and ended, so that a test can hold it against what was killed
// when. It runs inside a pod, as a process of its own (incontainer load).
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Kind is what a connection is used for.
type Kind string

const (
	HTTP Kind = "http" // a request on a connection of its own, answered with 200
	TLS  Kind = "tls"  // a handshake with a server name, and an answer through it
	TCP  Kind = "tcp"  // a line that comes back
	DNS  Kind = "dns"  // a question by UDP, with one more try, as resolvers do
	// Probe tries to reach what nobody registered. However it ends it is no failure:
	// whether it arrives is for the other side to say.
	Probe Kind = "probe"
)

// Target is where connections of a kind go.
type Target struct {
	Kind    Kind
	Address string // with its port
	Name    string // Host, server name, or the name that is asked for
}

// Patience is when a connection counts as failed that has got no answer.
const Patience = 10 * time.Second

// Spec is what to do.
type Spec struct {
	PerSecond float64 // over all targets, which take turns
	Targets   []Target
	// Patience replaces the default, for those who must outwait a restart.
	Patience time.Duration
	// Count is how many to make; 0 is as many as there is time for.
	Count int
	// Each, where it is set, is told of every connection that has ended; of one at a time.
	Each func(k Kind, began time.Time, err error) `json:"-"`
}

// Failure is a connection that did not do what it was for.
type Failure struct {
	Kind         Kind
	Began, Ended time.Time
	What         string // refused, reset, closed, late, wrong, other
	Error        string
}

// Result counts connections that have ended.
type Result struct {
	Good     map[Kind]int
	Failures []Failure
	Slowest  time.Duration
}

// tally collects results from many connections.
type tally struct {
	each func(Kind, time.Time, error)
	mu   sync.Mutex
	Result
}

func (t *tally) add(k Kind, began time.Time, err error) {
	ended := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Slowest = max(t.Slowest, ended.Sub(began))
	if t.each != nil {
		t.each(k, began, err)
	}
	if err == nil {
		t.Good[k]++
		return
	}
	t.Failures = append(t.Failures, Failure{Kind: k, Began: began, Ended: ended, What: class(err), Error: err.Error()})
}

// Run makes connections until ctx ends, or Count of them, and waits for those under way.
func Run(ctx context.Context, s Spec) Result {
	t := tally{each: s.Each, Result: Result{Good: map[Kind]int{}}}
	if s.Patience == 0 {
		s.Patience = Patience
	}
	var all sync.WaitGroup
	every := time.Duration(float64(time.Second) / s.PerSecond)
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	began := time.Now()
	for n := 0; s.Count == 0 || n < s.Count; {
		select {
		case <-ctx.Done():
			if s.Count == 0 {
				all.Wait()
				return t.Result
			}
			<-ticks.C
		case <-ticks.C:
		}
		// A ticker drops ticks that nobody takes; they are made up for.
		due := int(time.Since(began) / every)
		if s.Count > 0 {
			due = min(due, s.Count)
		}
		for ; n < due; n++ {
			target := s.Targets[n%len(s.Targets)]
			all.Add(1)
			go func() {
				defer all.Done()
				start := time.Now()
				// Not ctx: connections that began are to end as the servers let them.
				limit, cancel := context.WithDeadline(context.WithoutCancel(ctx), start.Add(s.Patience))
				defer cancel()
				t.add(target.Kind, start, Do(limit, target))
			}()
		}
	}
	all.Wait()
	return t.Result
}

// errWrong is an answer that is not the server's.
var errWrong = errors.New("wrong answer")

// Do makes one connection to a target.
func Do(ctx context.Context, t Target) error {
	f := map[Kind]func(context.Context, Target) error{HTTP: overHTTP, TLS: overTLS, TCP: overTCP, DNS: overDNS, Probe: probe}[t.Kind]
	if f == nil {
		return fmt.Errorf("kind %q: unknown", t.Kind)
	}
	return f(ctx, t)
}

// class sorts errors into those that a test speaks of.
func class(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "late"
	case errors.Is(err, errWrong):
		return "wrong"
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "late"
	}
	return "other"
}
