package agent

import (
	"io/fs"
	"log/slog"
	"maps"
	"testing"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/agent/pods"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/rules"
)

// What decides about a pod's traffic can be asked; the mark of its agents cannot: with it
// a process that may set marks would be taken for an agent.
func TestSettingsAreShownAndTheMarkIsNot(t *testing.T) {
	t.Parallel()
	c, _, err := rules.Parse([]byte(`{"includeIPRanges":"10.0.0.0/8","excludeIPRanges":"10.96.0.0/12","excludeOutboundPorts":"22","dnsCapture":true,"dnsServers":"10.96.0.10","nonTCP":"allow","outboundPort":40001,"exemption":"mark","exemptMark":4711}`))
	if err != nil {
		t.Fatal(err)
	}
	got := podStatus(core.PodStatus{Rules: core.RulesApplied, Mark: true, Decision: core.Decision{Config: &c, DNS: true}})
	want := map[string]string{"excludeIPRanges": "10.96.0.0/12", "excludeOutboundPorts": "22", "dnsServers": "10.96.0.10/32", "nonTCP": "allow", "outboundPort": "40001"}
	if !maps.Equal(got.Settings, want) || len(got.Ranges) != 1 || !got.DNS || got.Exemption != "mark" {
		t.Errorf("%+v", got)
	}
}

// Why there are no ranges is told where somebody wants some.
func TestRangesThatNobodyWantsAreNotMissing(t *testing.T) {
	t.Parallel()
	a := New(Config{Common: &pods.Common{Shares: proxy.NewShares(proxy.Totals{})}, Log: slog.New(slog.DiscardHandler)})
	a.given.err = fs.ErrNotExist
	if n := a.node(core.Status{}); n.RangesErr != "" {
		t.Errorf("nobody wants them: %q", n.RangesErr)
	}
	if n := a.node(core.Status{Pods: []core.PodStatus{{Decision: core.Decision{Auto: true}}}}); n.RangesErr == "" {
		t.Error("a pod wants them, and nothing is said")
	}
}
