package agent

import (
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"
)

// The holder has an agent serve again at the moment at which it is told to end: it ends.
func TestAnAgentThatEndsWhileItResumesIsRetired(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var said []string
	say := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, what)
	}
	stopping := make(chan struct{}, 1)
	var ending sync.WaitGroup
	var a *Agent
	a = New(Config{Log: slog.New(slog.DiscardHandler), Instance: "pod",
		Retiring: func() {
			say("retiring")
			stopping <- struct{}{}
		},
		Resumed: func() {
			ending.Go(a.retire)
			select {
			case <-stopping: // beside this, which must not be
			case <-time.After(200 * time.Millisecond):
			}
			say("resumed")
		}})
	(*handler)(a).Resume()
	ending.Wait()
	if !slices.Equal(said, []string{"resumed", "retiring"}) {
		t.Errorf("it was %q", said)
	}
	if hello := (*handler)(a).Hello(); !hello.Retired || hello.StandsBy {
		t.Errorf("it says retired %t, stands by %t", hello.Retired, hello.StandsBy)
	}
	(*handler)(a).Resume()
	if hello := (*handler)(a).Hello(); !hello.Retired {
		t.Error("it resumed though it ends")
	}
}
