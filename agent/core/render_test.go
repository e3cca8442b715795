package core_test

import (
	"fmt"
	"strings"

	"github.com/sluice-cni/sluice/agent/core"
)

// render writes an action as the scenarios have it.
func render(a core.Action) string {
	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	if p, ok := a.(core.PodAction); ok {
		put("%d ", p.At().Pod.Inode)
	}
	switch a := a.(type) {
	case core.OpenAndHold:
		put("open-and-hold path=%s", a.Path)
		if a.Ports != (core.Ports{}) {
			put(" ports=%d,%d", a.Ports.Outbound, a.Ports.DNS)
		}
		if a.Gate > 0 {
			put(" gate=%s", a.Gate)
		}
	case core.Keep:
		put("keep")
		if a.Gate > 0 {
			put(" gate=%s", a.Gate)
		}
	case core.Exempt:
		put("exempt %v", a.Agents.IDs)
	case core.Start:
		put("start files=%d", a.Files)
		if !a.Description.Facts {
			put(" without-facts")
		}
		if a.Decision.Why == "as its rules say" {
			put(" as-its-rules-say")
		}
		putOutbound(put, a.Decision)
	case core.Follow:
		put("follow")
		putOutbound(put, a.Decision)
	case core.ReadBack:
		put("read-back")
	case core.Apply:
		put("apply %s exempt %v", a.Decision.Hash, a.Agents.IDs)
		if a.Running {
			put(" running")
		}
		if a.Decision.Gate > 0 {
			put(" gate=%s", a.Decision.Gate)
		}
	case core.ReplaceSets:
		put("replace-sets %s -> %s", a.From, a.Decision.Hash)
	case core.Beat:
		put("beat gate=%s", a.Gate)
	case core.Check:
		put("check %s", a.Hash)
	case core.Disable:
		put("disable")
	case core.Remove:
		put("remove")
	case core.Stop:
		put("stop files=%d", a.Files)
		if a.Drain > 0 {
			put(" drain=%s", a.Drain)
		}
		if a.Close {
			put(" close")
		}
	case core.Release:
		put("release")
	case core.Take:
		put("take")
	case core.Seen:
		put("seen %d", a.Seq)
	case core.Retired:
		put("retired")
	case core.Ended:
		put("ended")
	}
	return b.String()
}

func renderStatus(s core.Status) string {
	var b strings.Builder
	fmt.Fprintf(&b, "connected=%t ready=%t", s.Connected, s.Ready)
	if s.Retired {
		b.WriteString(" retired")
	}
	if s.Leaving {
		fmt.Fprintf(&b, " leaving settled=%t", s.Settled)
	}
	if s.Draining > 0 {
		fmt.Fprintf(&b, " draining=%d", s.Draining)
	}
	for _, p := range s.Pods {
		fmt.Fprintf(&b, "\n%d %s/%s %s", p.Pod.Inode, p.Name.Namespace, p.Name.Name, p.State)
		if p.Reason != "" {
			fmt.Fprintf(&b, " (%s)", p.Reason)
		}
		fmt.Fprintf(&b, " rules=%s", p.Rules)
		if p.Hash != "" {
			b.WriteString("/" + p.Hash)
		}
		if p.Served {
			b.WriteString(" served")
		}
		if p.Held {
			b.WriteString(" held")
		}
		if p.Drifts > 0 {
			fmt.Fprintf(&b, " drifts=%d", p.Drifts)
		}
		for _, text := range p.Warnings {
			b.WriteString("\n  warning: " + text)
		}
	}
	return b.String()
}

func putOutbound(put func(string, ...any), d core.Decision) {
	if d.Outbound != "" {
		put(" outbound=%s", d.Outbound)
	}
}
