package agent

import (
	"context"
	"errors"
	"log/slog"

	"github.com/sluice-cni/sluice/agent/core"
)

// noteFailure says what could not be done to a pod. The core tries again, later and
// later, and says in Status what it waits for; what belongs to the course of things is
// not worth a line.
func (a *Agent) noteFailure(d core.Done) {
	at := d.Action.At()
	kind := kindNames[kindOf(d.Action)]
	switch {
	case d.Drift != "":
		a.log.Warn("a pod's rules were changed by somebody else; they are put back", "netns", at.Pod.String(), "drift", clip(d.Drift))
	case d.Err == nil:
	case expected(d.Err):
		a.log.Debug("not done", "action", kind, "netns", at.Pod.String(), "error", d.Err)
	default:
		a.log.Warn("cannot be done to a pod; it is tried again", "action", kind, "netns", at.Pod.String(), "error", d.Err)
	}
}

// expected errors belong to the course of things: a pod comes or goes just now.
func expected(err error) bool {
	return errors.Is(err, core.ErrNoRules) || errors.Is(err, core.ErrGone) || errors.Is(err, core.ErrOtherRules)
}

// noteNews has the log say what became of a pod. Whoever takes a node's pods over says
// nothing of those that stay what they were.
func (a *Agent) noteNews(n core.News) {
	level, text := slog.LevelInfo, "a pod is enrolled"
	switch {
	case n.State == core.PodFailed:
		level, text = slog.LevelWarn, "a pod cannot be what it should be; what it is stays"
	case n.State == core.PodUntouched:
		text = "a pod was let go"
	case n.Before:
		level = slog.LevelDebug
	}
	pod := slog.String("netns", n.Pod.String())
	if n.Name != "" {
		pod = slog.String("pod", n.Name)
	}
	a.newsLog.Log(context.Background(), level, text, pod, slog.String("why", clip(n.Reason)))
}

// clip shortens a text that somebody else may have made long.
func clip(s string) string {
	const most = 300
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
