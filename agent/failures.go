package agent

import (
	"errors"

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
	case errors.Is(d.Err, core.ErrNoRules), errors.Is(d.Err, core.ErrGone), errors.Is(d.Err, core.ErrOtherRules):
		a.log.Debug("not done", "action", kind, "netns", at.Pod.String(), "error", d.Err)
	default:
		a.log.Warn("cannot be done to a pod; it is tried again", "action", kind, "netns", at.Pod.String(), "error", d.Err)
	}
}

// clip shortens a text that somebody else may have made long.
func clip(s string) string {
	const most = 300
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
