package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// A node without an agent is cleaned; one whose agent comes back in time, or answers, never.
func TestRulesAreTakenOutWhereNoAgentIs(t *testing.T) {
	t.Parallel()
	clean := func(socket string, absent time.Duration) (cleaned bool, err error) {
		c := &cobra.Command{}
		c.SetOut(io.Discard)
		c.SetContext(t.Context())
		err = letGoOrClean(c, socket, 5*time.Second, absent, func() error { cleaned = true; return nil })
		return cleaned, err
	}
	dir := t.TempDir()
	if cleaned, err := clean(filepath.Join(dir, "none.sock"), 100*time.Millisecond); !cleaned || err != nil {
		t.Errorf("without an agent: %t, %v", cleaned, err)
	}
	path := filepath.Join(dir, "agent.sock")
	came := make(chan struct{})
	go func() {
		defer close(came)
		time.Sleep(200 * time.Millisecond) // the agent is started again
		agentHealth(t, path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, `{"pods":0,"done":true}`) })
	}()
	if cleaned, err := clean(path, time.Minute); cleaned || err != nil {
		t.Errorf("with an agent that is started again: %t, %v", cleaned, err)
	}
	<-came
	refusing := filepath.Join(dir, "refusing.sock")
	agentHealth(t, refusing, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	if cleaned, err := clean(refusing, 100*time.Millisecond); cleaned || err == nil {
		t.Errorf("with an agent that does not do it: %t, %v", cleaned, err)
	}
}

// An agent that ends in the middle, or does not know its pods yet, has let go of nothing.
func TestOnlyDoneMeansThatEveryPodIsLetGo(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		`{"pods":2,"connections":1} {"pods":0,"connections":0,"done":true}`: "",
		``:                             "ended its answer with 0 pods, 0 connections left",
		`{"pods":0,"connections":0}`:   "ended its answer with 0 pods, 0 connections left",
		`{"pods":1,"connections":3}`:   "1 pod, 3 connections left",
		`{"pods":0,"unsettled":"why"}`: "left, perhaps more: why",
	} {
		var out bytes.Buffer
		c := &cobra.Command{}
		c.SetOut(&out)
		err := followLeaving(t.Context(), c, json.NewDecoder(strings.NewReader(answer)), "agent.sock", time.Minute)
		switch {
		case want == "" && (err != nil || !strings.HasSuffix(out.String(), "let go of every pod\n")):
			t.Errorf("%s: %v\n%s", answer, err, &out)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", answer, err, want)
		}
	}
}
