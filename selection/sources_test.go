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
	problem string
}

func (s said) Run(ctx context.Context, update func(*selection.Policy)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case p, open := <-s.words:
			if !open {
				return errors.New("the source is over")
			}
			update(p)
		}
	}
}

func (s said) Problem() string { return s.problem }

func TestSourcesSpeakOnceAllHaveSpoken(t *testing.T) {
	t.Parallel()
	files, cluster := said{words: make(chan *selection.Policy)}, said{words: make(chan *selection.Policy), problem: "no"}
	both := selection.Sources(slog.New(slog.NewTextHandler(io.Discard, nil)), files, cluster)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	got, ended := make(chan *selection.Policy), make(chan error)
	go func() { ended <- both.Run(ctx, func(p *selection.Policy) { got <- p }) }()
	next := func(want string, exempt ...string) {
		t.Helper()
		p := <-got
		if p.Selection != want || !slices.Equal(p.ExemptNamespaces, exempt) {
			t.Errorf("selection %q, exempt %v; want %q, %v", p.Selection, p.ExemptNamespaces, want, exempt)
		}
	}
	files.words <- &selection.Policy{ExemptNamespaces: []string{"kube-system"}}
	files.words <- &selection.Policy{ExemptNamespaces: []string{"kube-public"}} // neither is said: the cluster has not spoken
	cluster.words <- &selection.Policy{Selection: selection.Annotated}
	next(selection.Annotated, "kube-public")
	files.words <- &selection.Policy{Selection: selection.All}
	next(selection.All)
	files.words <- nil
	next(selection.Annotated)
	close(files.words) // its last word stays
	cluster.words <- &selection.Policy{ExemptNamespaces: []string{"shop"}}
	next("", "shop")
	if problem := both.(interface{ Problem() string }).Problem(); problem != "no" {
		t.Errorf("problem %q", problem)
	}
	cancel()
	if err := <-ended; err == nil || err.Error() != "the source is over" {
		t.Error(err)
	}
}
