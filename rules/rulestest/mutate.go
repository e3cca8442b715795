package rulestest

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/rules"
)

// needPackets are the rules whose absence no first packet of a flow shows: those
// about later packets, those that only speak where another rule is gone, and those that
// are no plan's to take away. Each has a test of its own, here by name of the chain and the beginning of the rule's.
var needPackets = map[string]string{
	"agent/":                    "TestTheAgentsSocketsReachCapturedAddressesAndNobodyElses",
	"output_zone/":              "TestTheDNSProxyMayUseTheSourcePortItsClientUsed",
	"output_marks/":             "TestMarksCannotBeGuessed",
	"output_filter/ongoing":     "TestAClientInsideACapturedRangeIsAnswered",
	"forward_filter/ongoing":    "TestAClientInsideACapturedRangeIsAnswered",
	"postrouting_filter/":       "TestASocketBoundToAnInterfaceDoesNotLeave",
	"output_filter/foreign":     "TestNothingAWorkloadCanSendReachesACapturedAddress",
	"output_filter/TCP":         "TestUnderBypassAMissingRedirectLetsTrafficGo",
	"forward_filter/TCP":        "TestUnderBypassAMissingRedirectLetsTrafficGo",
	"output_filter/guard of ":   "TestAMissingRedirectIsAnOutageNeverALeak",
	"output_filter/late ":       "TestAnAttemptFromBeforeIsRefusedSoon",
	"output_filter/rest of ":    "TestPacketsThatBeginNothingDoNotLeave",
	"forward_filter/guard of ":  "TestAMissingRedirectIsAnOutageForReroutedTrafficToo",
	"forward_filter/late ":      "TestAnAttemptFromBeforeIsRefusedSoon",
	"forward_filter/rest of ":   "TestAMissingRedirectIsAnOutageForReroutedTrafficToo",
	"forward_filter/DHCP":       "TestWhatANetworkNeedsIsForwardedForAMachine",
	"forward_filter/IGMP":       "TestWhatANetworkNeedsIsForwardedForAMachine",
	"forward_filter/ICMP other": "TestWhatANetworkNeedsIsForwardedForAMachine",
	"forward_filter/ICMPv6":     "TestWhatANetworkNeedsIsForwardedForAMachine",
}

// needsPackets reports whether a rule is one of those.
func needsPackets(name string) bool {
	for prefix := range needPackets {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Mutate removes each rule of the plan vocabulary in turn and demands that the
// kernel then decides some flow otherwise: no rule is there for nothing, and no
// missing rule stays unnoticed. Flows that must show it are found by Walk.
func Mutate(t *testing.T, apply Apply, by AgentsBy) {
	r := NewRandom(Seed(t), 0)
	if !MakeCgroups(t) {
		r.cgroups = nil
	}
	w := NewWorld(t)
	left, seen := map[string]bool{}, map[string]bool{}
	for tries := 0; tries < 1500; tries++ {
		c := r.Config()
		var m Mode
		if by == ByCgroup { // by mark no rule is the agent's
			m = r.Mode(c, by)
		}
		p, err := m.Plan(c)
		must(t, err)
		flows := make([]rules.Flow, 60)
		for i := range flows {
			flows[i] = m.Seen(r.Flow())
		}
		for ci, ch := range p.Chains {
			for ri, rule := range ch.Rules {
				name := ruleKind(ch.Name + "/" + rule.Name)
				if !seen[name] && !needsPackets(name) {
					seen[name], left[name] = true, true
				}
				if left[name] && w.notices(t, apply, Without(p, ci, ri), c, flows) {
					delete(left, name)
				}
			}
		}
		if tries > 200 && len(left) == 0 {
			break
		}
	}
	if len(left) > 0 {
		t.Errorf("nobody misses %v", slices.Sorted(maps.Keys(left)))
	}
	t.Logf("%d rules removed, each noticed", len(seen))
}

// ruleKind leaves out the level in the name of a cgroup's rule.
func ruleKind(name string) string {
	kind, _, _ := strings.Cut(name, " at level ")
	return kind
}

// notices sends the first flow that must go elsewhere under the mutilated plan.
func (w *World) notices(t *testing.T, apply Apply, p rules.Plan, c rules.Config, flows []rules.Flow) bool {
	t.Helper()
	i := slices.IndexFunc(flows, func(f rules.Flow) bool {
		want, _ := rules.Decide(c, f)
		return Walk(p, c, f) != want
	})
	if i < 0 {
		return false
	}
	must(t, apply(w.pod.FD(), p))
	if w.difference(c, flows[i]) == "" {
		t.Errorf("the kernel decides as before without a rule\nconfig %s\nflow %+v\n%s", text(c), flows[i], p)
	}
	return true
}

// Without is the plan without one of its rules.
func Without(p rules.Plan, chain, rule int) rules.Plan {
	p.Chains = slices.Clone(p.Chains)
	p.Chains[chain].Rules = slices.Delete(slices.Clone(p.Chains[chain].Rules), rule, rule+1)
	return p
}
