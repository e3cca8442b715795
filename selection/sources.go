package selection

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
)

// Sources are several as one, the most trusted first: what they say is merged as Merge
// does. Nothing is said before each of them has spoken, since half of a policy would let
// pods out that the other half captures; whoever has the last policy of the node
// (ReadFile) goes on by it until then. One that is away keeps its last word, as Source
// says. log gets a line when one ends before it was told to.
func Sources(log *slog.Logger, first ...Source) Source { return &sources{all: first, log: log} }

type sources struct {
	all []Source
	log *slog.Logger
}

// Run ends with ctx, or when all of them have ended, with their errors.
func (s *sources) Run(ctx context.Context, update func(*Policy)) error {
	var mu sync.Mutex // one update at a time, in the order of what they say
	said := make([]*Policy, len(s.all))
	silent := len(s.all)
	errs := make([]error, len(s.all))
	var running sync.WaitGroup
	for i, source := range s.all {
		running.Go(func() {
			spoken := false
			errs[i] = source.Run(ctx, func(p *Policy) {
				mu.Lock()
				defer mu.Unlock()
				if p == nil {
					p = &Policy{} // says nothing, but has spoken
				}
				if said[i] = p; !spoken {
					spoken = true
					silent--
				}
				if silent == 0 {
					update(Merge(said...))
				}
			})
			if ctx.Err() == nil {
				s.log.Error("a source of policy has ended; its last word stays in force", "error", errs[i])
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// Problem is what is wrong with any of them now, "" for nothing.
func (s *sources) Problem() string {
	var all []string
	for _, source := range s.all {
		if tells, ok := source.(interface{ Problem() string }); ok {
			if text := tells.Problem(); text != "" {
				all = append(all, text)
			}
		}
	}
	return strings.Join(all, "; ")
}
