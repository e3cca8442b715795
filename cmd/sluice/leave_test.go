package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

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
