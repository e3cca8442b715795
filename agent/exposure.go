package agent

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/exposure"
	"github.com/sluice-cni/sluice/holder/wire"
)

// exposureEvery is how often pods' processes are looked at for what the rules do not
// protect against.
const exposureEvery = 30 * time.Second

// watchExposure warns of pods whose processes could leave their capture: in status, and
// once in the log.
func (a *Agent) watchExposure(ctx context.Context) {
	said := map[wire.Netns]string{}
	t := time.NewTicker(exposureEvery)
	defer t.Stop()
	for {
		a.lookForExposure(ctx, said)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (a *Agent) lookForExposure(ctx context.Context, said map[wire.Netns]string) {
	var status core.Status
	if a.loop.ask(ctx, func(s *core.State) { status = s.Status() }) != nil {
		return
	}
	marks := map[wire.Netns]bool{}
	for _, p := range status.Pods {
		if p.Rules == core.RulesApplied {
			marks[p.Pod] = p.Mark
		}
	}
	all, err := exposure.Look(ctx, a.cfg.Cgroup)
	if err != nil {
		a.log.Debug("processes cannot be looked at", "error", err)
		return
	}
	for _, p := range status.Pods {
		byMark, captured := marks[p.Pod]
		if !captured {
			continue
		}
		warnings := all[p.Pod].Warnings(byMark)
		if p.Description.DNS == nil && p.Decision.DNS {
			warnings = append(warnings, "nobody said which DNS servers the pod has: the agent's own are asked")
		}
		before := said[p.Pod]
		now := strings.Join(warnings, "; ")
		if now == before {
			continue
		}
		said[p.Pod] = now
		a.loop.tell(core.Noted{Pod: p.Pod, Warnings: slices.Clone(warnings)})
		name := naming(wire.PodName{Namespace: p.Name.Namespace, Name: p.Name.Name}, p.Pod)
		switch {
		case isExposed(warnings):
			a.log.Warn("a pod is not wholly protected", name, "why", now)
		case now != "":
			a.log.Info("a pod is served with a limitation", name, "why", now)
		}
	}
	for pod := range said {
		if _, captured := marks[pod]; !captured {
			delete(said, pod)
		}
	}
}

// isExposed says that one of a pod's warnings is exposure's.
func isExposed(warnings []string) bool {
	return slices.ContainsFunc(warnings, func(w string) bool { return strings.HasPrefix(w, exposure.NotProtected) })
}
