package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/agent"
)

// An agent that ends in the middle, or does not know its pods yet, has let go of nothing.
func TestOnlyDoneMeansThatEveryPodIsLetGo(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]struct {
		said []agent.Leaving
		left *agent.Leaving // nil: none
	}{
		`{"pods":2,"connections":1} {"pods":0,"connections":0,"done":true}`: {[]agent.Leaving{{Pods: 2, Connections: 1}}, nil},
		``:                                {nil, &agent.Leaving{}},
		`{"pods":0,"connections":0}`:      {[]agent.Leaving{{}}, &agent.Leaving{}},
		`{"pods":1} {"pods":1} {"pods":1`: {[]agent.Leaving{{Pods: 1}}, &agent.Leaving{Pods: 1}},
		`{"pods":2} {"pods":1,"unsettled":"why"}`: {[]agent.Leaving{{Pods: 2}, {Pods: 1, Unsettled: "why"}}, &agent.Leaving{Pods: 1, Unsettled: "why"}},
	} {
		path := filepath.Join(t.TempDir(), "agent.sock")
		answers(t, path, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && r.URL.Path == agent.LeavePath {
				fmt.Fprintln(w, answer)
			}
		})
		var said []agent.Leaving
		err := Leave(t.Context(), path, func(now agent.Leaving) { said = append(said, now) })
		if diff := cmp.Diff(want.said, said); diff != "" {
			t.Errorf("%s: it says %s", answer, diff)
		}
		var unfinished *UnfinishedError
		if errors.As(err, &unfinished) != (want.left != nil) || err == nil != (want.left == nil) || unfinished != nil && unfinished.Left != *want.left {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

func TestWhoDoesNotLetGoSaysWhy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent.sock")
	if err := Leave(t.Context(), path, func(agent.Leaving) {}); !errors.Is(err, ErrNone) {
		t.Errorf("without an agent: %v", err)
	}
	answers(t, path, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "root may\n")
	})
	if err := Leave(t.Context(), path, func(agent.Leaving) {}); err == nil || err.Error() != "403 Forbidden: root may" {
		t.Errorf("with one that refuses: %v", err)
	}
}
