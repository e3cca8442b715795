package agent

import (
	"context"
	"time"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/proxy/metrics"
)

// Metrics lists what is shown of an agent beside its proxies' metrics, as docs/agent.md
// does. Nothing has a label with a pod's name: `sluice status` tells of single pods.
var Metrics = []metrics.Metric{
	{Name: "sluice_pods", Kind: "gauge", Help: "Pods by state: untouched, waiting, pending, enrolled, leaving or failed.", Labels: []string{"state"}},
	{Name: "sluice_pods_not_protected", Kind: "gauge", Help: "Captured pods with a process that could leave its capture; the log and sluice status say which."},
	{Name: "sluice_actions_total", Kind: "counter", Help: "What was done to pods, by what and with which result: ok or failed.", Labels: []string{"action", "result"}},
	{Name: "sluice_drift_total", Kind: "counter", Help: "Times that somebody else had changed a pod's rules."},
	{Name: "sluice_holder_connected", Kind: "gauge", Help: "1 while there is a session with the holder."},
	{Name: "sluice_agent_serving", Kind: "gauge", Help: "1 while this agent serves the node; 0 before it takes over and once another has."},
	{Name: "sluice_agents", Kind: "gauge", Help: "Agents on the node, those that drain among them."},
	{Name: "sluice_draining", Kind: "gauge", Help: "Pods, or former ones, of which only connections from before are left."},
	{Name: "sluice_policy_generation", Kind: "gauge", Help: "Which policy is in force."},
	{Name: "sluice_ranges", Kind: "gauge", Help: "Ranges that includeIPRanges auto stands for; 0 while they are not known."},
	{Name: "sluice_ranges_unknown", Kind: "gauge", Help: "1 while the cluster's ranges are not known or cannot be read."},
	{Name: "sluice_cluster_away_seconds", Kind: "gauge", Help: "For how long the API server that the agent follows has not answered; 0 while it does. What was last known is in force meanwhile."},
	{Name: "sluice_cluster_waiting", Kind: "gauge", Help: "Kinds of the cluster's objects of which not all is known yet; above 0 no configuration is in force, and connections wait."},
	{Name: "sluice_pods_connections", Kind: "gauge", Help: "Connections that all pods together hold, to servers too."},
	{Name: "sluice_pods_connections_limit", Kind: "gauge", Help: "How many they may hold."},
}

// Show has m show them.
func (a *Agent) Show(m *metrics.Metrics) { m.More(Metrics, a.show) }

func (a *Agent) show(show func(name string, value float64, labels ...string)) {
	for kind := range core.Kinds {
		show("sluice_actions_total", float64(a.counts.done[kind].fine.Load()), kind.String(), "ok")
		show("sluice_actions_total", float64(a.counts.done[kind].failed.Load()), kind.String(), "failed")
	}
	show("sluice_drift_total", float64(a.counts.drifts.Load()))
	used, most := a.cfg.Common.Shares.Usage()
	show("sluice_pods_connections", float64(used.Connections))
	show("sluice_pods_connections_limit", float64(most.Connections))
	a.givenMu.Lock()
	ranges, unknown := len(a.given.ranges.Prefixes), a.given.err != nil
	a.givenMu.Unlock()
	show("sluice_ranges", float64(ranges))
	show("sluice_ranges_unknown", one(unknown))

	if c, follows := a.cluster(); follows {
		away := 0.0
		if !c.Away.IsZero() {
			away = time.Since(c.Away).Seconds()
		}
		show("sluice_cluster_away_seconds", away)
		show("sluice_cluster_waiting", float64(len(c.Waiting)))
	}

	ctx, cancel := context.WithTimeout(context.Background(), turnWithin)
	defer cancel()
	var s core.Status
	if a.loop.ask(ctx, func(state *core.State) { s = state.Status() }) != nil {
		return // /healthz says so
	}
	show("sluice_holder_connected", one(s.Connected))
	show("sluice_agent_serving", one(a.serving.Load() != nil && !s.Retired))
	show("sluice_agents", float64(1+s.Others))
	show("sluice_draining", float64(s.Draining))
	show("sluice_policy_generation", float64(s.Generation))
	by := map[core.PodState]int{core.PodUntouched: 0, core.PodWaiting: 0, core.PodPending: 0, core.PodEnrolled: 0, core.PodLeaving: 0, core.PodFailed: 0}
	exposed := 0
	for _, p := range s.Pods {
		if nobodys(p) {
			continue
		}
		by[p.State]++
		if isExposed(p.Warnings) {
			exposed++
		}
	}
	delete(by, core.PodGone)
	for state, n := range by {
		show("sluice_pods", float64(n), string(state))
	}
	show("sluice_pods_not_protected", float64(exposed))
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
