package podlog

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestAFloodOfOnePodsLinesLeavesTheOthersTheirs(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := New(slog.NewTextHandler(&out, nil))
	now := time.Now()
	l.now = func() time.Time { return now }
	loud, quiet := l.Pod().With("pod", "noise/loud").WithGroup("g"), l.Pod().With("pod", "shop/web")
	lines := func(pod string) int { return strings.Count(out.String(), "pod="+pod+" ") }
	const seconds, each = 60, 1000
	for second := range seconds {
		for n := range each {
			loud.Warn("again", "n", n)
		}
		if second%20 == 0 {
			quiet.Error("once", "second", second)
		}
		now = now.Add(time.Second)
	}
	if got := lines("shop/web"); got != seconds/20 {
		t.Errorf("%d of the quiet pod's lines, want %d:\n%.500s", got, seconds/20, &out)
	}
	most := burst + sureBurst + int(seconds*(rate+sureRate)) + 1
	if got := lines("noise/loud"); got > most || got < most/2 {
		t.Errorf("%d of the loud pod's lines, want about %d", got, most)
	}
	out.Reset()
	loud.Warn("last", "n", 0)
	if text := out.String(); !strings.Contains(text, "left_out=") {
		t.Errorf("the next line does not say what is left out: %s", text)
	}
	out.Reset()
	quiet.Info("two\nlines")
	if text := out.String(); strings.Contains(text, "left_out") || strings.Count(text, "\n") != 1 {
		t.Errorf("%s", text)
	}
}

// Many pods that all write without end leave the process a log that can be read.
func TestManyFloodsAreBoundedTogether(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
	now := time.Now()
	l.now = func() time.Time { return now }
	all := make([]*slog.Logger, 500)
	for i := range all {
		all[i] = l.Pod().With("pod", fmt.Sprint("p", i))
	}
	const seconds = 20
	for range seconds {
		for range 20 {
			for _, log := range all {
				log.Info("again")
				log.Debug("not wanted, and so of nobody's budget")
			}
		}
		now = now.Add(time.Second)
	}
	got, most := strings.Count(out.String(), "\n"), burst+seconds*rate+len(all)*(sureBurst+seconds/10)
	if got > most {
		t.Errorf("%d lines, over %d", got, most)
	}
	for i := range all {
		if n := strings.Count(out.String(), fmt.Sprintf("pod=p%d\n", i)) + strings.Count(out.String(), fmt.Sprintf("pod=p%d ", i)); n < sureBurst {
			t.Errorf("pod %d has %d lines", i, n)
		}
	}
}
