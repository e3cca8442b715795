package selection_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/selection"
)

// said is a source that says what it is given, and ends with its channel.
type said struct {
	words   chan *selection.Policy
	heard   chan struct{} // one for each word, once update has returned
	problem string
}

func newSaid(problem string) said {
	return said{make(chan *selection.Policy), make(chan struct{}), problem}
}

func (s said) say(p *selection.Policy) {
	s.words <- p
	<-s.heard
}

func (s said) Run(ctx context.Context, update func(*selection.Policy)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case p, open := <-s.words:
			if !open {
				defer close(s.heard)
				return errors.New("the source is over")
			}
			update(p)
			s.heard <- struct{}{}
		}
	}
}

func (s said) Problem() string { return s.problem }

func TestSourcesSpeakOnceAllHaveSpoken(t *testing.T) {
	t.Parallel()
	files, cluster := newSaid(""), newSaid("no")
	both := selection.Sources(slog.New(slog.NewTextHandler(io.Discard, nil)), files, cluster)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	got, ended := make(chan *selection.Policy, 9), make(chan error)
	go func() { ended <- both.Run(ctx, func(p *selection.Policy) { got <- p }) }()
	next := func(want string, exempt ...string) {
		t.Helper()
		if len(got) != 1 {
			t.Fatalf("%d policies, want one", len(got))
		}
		p := <-got
		if p.Selection != want || !slices.Equal(p.ExemptNamespaces, exempt) {
			t.Errorf("selection %q, exempt %v; want %q, %v", p.Selection, p.ExemptNamespaces, want, exempt)
		}
	}
	files.say(&selection.Policy{ExemptNamespaces: []string{"kube-system"}})
	files.say(&selection.Policy{ExemptNamespaces: []string{"kube-public"}}) // neither is said: the cluster has not spoken
	cluster.say(&selection.Policy{Selection: selection.Annotated})
	next(selection.Annotated, "kube-public")
	files.say(&selection.Policy{Selection: selection.All})
	next(selection.All)
	files.say(nil)
	next(selection.Annotated)
	close(files.words)
	<-files.heard // its last word stays
	cluster.say(&selection.Policy{ExemptNamespaces: []string{"shop"}})
	next("", "shop")
	if problem := both.(interface{ Problem() string }).Problem(); problem != "no" {
		t.Errorf("problem %q", problem)
	}
	cancel()
	if err := <-ended; err == nil || err.Error() != "the source is over" {
		t.Error(err)
	}
}
