package kube

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/kubeapi"
)

func hashed(names []string) (hashes []uint64) {
	for _, name := range names {
		hashes = append(hashes, hashOf(name))
	}
	return hashes
}

// Agents that all see an object do not all write the Event about it; about a
// pod, and about its node, the one that serves it does.
func TestAFewAgentsWriteWhatAllOfThemSee(t *testing.T) {
	t.Parallel()
	var nodes []string
	for i := range 60 {
		nodes = append(nodes, fmt.Sprint("node-", i))
	}
	for known, want := range map[string]int{"all nodes": speakers, "none": 60} {
		var hashes []uint64
		if known == "all nodes" {
			hashes = hashed(nodes)
		}
		writers := map[string]int{}
		for _, node := range nodes {
			e := newEvents(nil, node, func() []uint64 { return hashes }, slog.New(slog.DiscardHandler))
			for i := range 10 {
				e.Say(kubeapi.ServiceEntries, kubeapi.Key{Namespace: "shop", Name: fmt.Sprint("entry-", i)}, "u", true, Refused, "wrong")
			}
			for _, v := range e.waiting {
				if e.ours(v) {
					writers[v.name]++
				}
			}
		}
		for name, n := range writers {
			if n != want {
				t.Errorf("%s known: %d agents write %s, not %d", known, n, name, want)
			}
		}
		if len(writers) != 10 {
			t.Errorf("%s known: %d Events of 10 are written", known, len(writers))
		}
	}
	e := newEvents(nil, "node-1", func() []uint64 { return hashed(nodes) }, slog.New(slog.DiscardHandler))
	e.Say(kubeapi.Pods, kubeapi.Key{Namespace: "shop", Name: "web"}, "u", true, NotEnrolled, "wrong")
	e.Say(kubeapi.Nodes, kubeapi.Key{Name: "node-1"}, "", true, BesideIt, "wrong")
	for _, v := range e.waiting {
		if !e.ours(v) {
			t.Errorf("%s is left to others", v.name)
		}
	}
}

// A namespace of which there is ever more to say leaves room for what is said of others.
func TestOneNamespaceDoesNotTakeTheRoomOfOthersEvents(t *testing.T) {
	t.Parallel()
	e := newEvents(nil, "node-1", func() []uint64 { return nil }, slog.New(slog.DiscardHandler))
	say := func(namespace string, n int) {
		e.Say(kubeapi.Pods, kubeapi.Key{Namespace: namespace, Name: fmt.Sprint("web-", n)}, "u", true, NotEnrolled, "wrong")
	}
	for i := range 2 * mostWaiting {
		say("noisy", i)
	}
	say("quiet", 1)
	of := map[string]int{}
	for _, v := range e.waiting {
		of[v.namespace]++
	}
	if of["noisy"] != mostOfOne || of["quiet"] != 1 {
		t.Errorf("%v wait", of)
	}
	if len(e.said) != len(e.waiting) {
		t.Errorf("%d are taken for said, %d wait", len(e.said), len(e.waiting))
	}
	for n := range e.said {
		e.said[n] = e.said[n].Add(-sayAgain)
	}
	e.forgot = e.forgot.Add(-forgetEvery)
	say("other", 1)
	if len(e.said) != 1 {
		t.Errorf("%d are remembered that may be said again", len(e.said)-1)
	}
}

// answering is a server's answer to every Event.
type answering struct{ err error }

func (a answering) Create(context.Context, kubeapi.Kind, []byte) error { return a.err }

// What finds no room while the server is away is counted, said once, and may be said again.
func TestAnEventThatIsLeftOutIsCountedAndMayBeSaidAgain(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	e := newEvents(answering{kubeapi.ErrUnreachable}, "node-1", func() []uint64 { return nil }, slog.New(slog.NewTextHandler(&log, nil)))
	v := event{namespace: "shop", name: "late"}
	e.said["shop/late"] = e.now()
	e.write(t.Context(), v)
	if len(e.waiting) != 1 || e.said["shop/late"].IsZero() {
		t.Errorf("with room: %d wait, said %v", len(e.waiting), e.said)
	}
	e.waiting = make([]event, mostWaiting)
	e.write(t.Context(), v)
	if _, said := e.said["shop/late"]; said || len(e.waiting) != mostWaiting {
		t.Errorf("without room: %d wait, said %v", len(e.waiting), e.said)
	}
	e.to = answering{}
	for range 2 {
		e.write(t.Context(), v)
	}
	if text := log.String(); strings.Count(text, "Events were left out") != 1 || !strings.Contains(text, "events=1") {
		t.Errorf("the log says\n%s", text)
	}
}
