package agent

import (
	"context"
	"errors"
	"log/slog"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/holder/wire"
)

// noteFailure says what could not be done to a pod. The core tries again, later and
// later, and says in Status what it waits for; what belongs to the course of things is
// not worth a line.
func (a *Agent) noteFailure(d core.Done) {
	at := d.Action.At()
	kind := core.KindOf(d.Action).String()
	switch {
	case d.Drift != "":
		a.log.Warn("a pod's rules were changed by somebody else; they are put back", naming(a.host.Name(at.Pod), at.Pod), "drift", clip(d.Drift))
	case d.Err == nil:
	case expected(d.Err):
		a.log.Debug("not done", "action", kind, "netns", at.Pod.String(), "error", d.Err)
	default:
		a.log.Warn("cannot be done to a pod; it is tried again", "action", kind, naming(a.host.Name(at.Pod), at.Pod), "error", d.Err)
	}
}

// expected errors belong to the course of things: a pod comes or goes just now.
func expected(err error) bool {
	return errors.Is(err, core.ErrNoRules) || errors.Is(err, core.ErrGone) || errors.Is(err, core.ErrOtherRules)
}

// noteNews has the log say what became of a pod. Whoever takes a node's pods over says
// nothing of those that stay what they were.
func (a *Agent) noteNews(n core.News) {
	if a.cfg.News != nil {
		a.cfg.News(n)
	}
	level, text := slog.LevelInfo, "a pod is enrolled"
	switch {
	case n.State == core.PodFailed:
		level, text = slog.LevelWarn, "a pod cannot be what it should be; what it is stays"
	case n.LeftAlone != "":
		text = "a pod is left alone"
	case n.State == core.PodUntouched:
		text = "a pod was let go"
	case n.Before:
		level = slog.LevelDebug
	}
	a.newsLog.Log(context.Background(), level, text, naming(n.Name, n.Pod), slog.String("why", clip(n.Reason)))
}

// naming is what a line calls a pod: its name, or the namespace where nobody knows one.
func naming(name wire.PodName, pod wire.Netns) slog.Attr {
	if name.Name == "" {
		return slog.String("netns", pod.String())
	}
	return slog.String("pod", name.Namespace+"/"+name.Name)
}

// clip shortens a text that somebody else may have made long.
func clip(s string) string {
	const most = 300
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
