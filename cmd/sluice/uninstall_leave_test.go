package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// A node without an agent is cleaned; one whose agent comes back in time, or answers, never.
func TestRulesAreTakenOutWhereNoAgentIs(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	clean := func(socket string, absent time.Duration, out io.Writer) (cleaned bool, err error) {
		c := &cobra.Command{}
		c.SetOut(out)
		c.SetContext(t.Context())
		err = letGoOrClean(c, socket, 5*time.Second, absent, func() error { cleaned = true; return nil })
		return cleaned, err
	}
	dir := t.TempDir()
	none := filepath.Join(dir, "none.sock")
	if cleaned, err := clean(none, 100*time.Millisecond, &said); !cleaned || err != nil {
		t.Errorf("without an agent: %t, %v", cleaned, err)
	}
	want := "no agent answers at " + none + " yet: it is asked again for 100ms\nno agent has answered for 100ms: its rules are taken out of pods without it\n"
	if said.String() != want {
		t.Errorf("without an agent it says\n%swant\n%s", &said, want)
	}
	path := filepath.Join(dir, "agent.sock")
	startsAgain := &firstWrite{do: func() {
		anAgent(t, path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, `{"pods":0,"done":true}`) })
	}}
	if cleaned, err := clean(path, time.Minute, startsAgain); cleaned || err != nil {
		t.Errorf("with an agent that is started again: %t, %v", cleaned, err)
	}
	refusing := filepath.Join(dir, "refusing.sock")
	anAgent(t, refusing, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	if cleaned, err := clean(refusing, 100*time.Millisecond, io.Discard); cleaned || err == nil {
		t.Errorf("with an agent that does not do it: %t, %v", cleaned, err)
	}
}

// firstWrite is a writer that does something once, when the first line comes.
type firstWrite struct {
	once sync.Once
	do   func()
}

func (w *firstWrite) Write(line []byte) (int, error) {
	w.once.Do(w.do)
	return len(line), nil
}

func TestWhatIsLeftIsSaidWithARemedy(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		`{"pods":2,"connections":1} {"pods":0,"connections":0,"done":true}`: "",
		``:                             "ended its answer with 0 pods, 0 connections left",
		`{"pods":1,"connections":3}`:   "1 pod, 3 connections left",
		`{"pods":0,"unsettled":"why"}`: "left, perhaps more: why",
	} {
		path := filepath.Join(t.TempDir(), "agent.sock")
		anAgent(t, path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, answer) })
		var out bytes.Buffer
		c := &cobra.Command{}
		c.SetOut(&out)
		c.SetContext(t.Context())
		err := letGo(c, path, time.Minute)
		switch {
		case want == "" && (err != nil || out.String() != "the agent lets go: 2 pods, 1 connection left\nthe agent has let go of every pod\n"):
			t.Errorf("%s: %v\n%s", answer, err, &out)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", answer, err, want)
		}
	}
}
