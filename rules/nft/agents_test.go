package nft_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/escape"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// Whoever applies the rules cannot know the agent; once the agent has written by what
// it is known, its sockets reach captured addresses, and nobody else's. That holds for
// an agent in a cgroup namespace too, for which levels are counted from elsewhere.
func TestTheAgentsSocketsReachCapturedAddressesAndNobodyElses(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	for name, how := range map[string]string{"in the node's cgroup namespace": agentHere, "in one of its own": agentUnshare} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t, rulestest.NewPair(t))
			rulestest.Echo(t, w.Pod, ":15001", "proxy")
			agent := startAgentAs(t, how, w.Pod, newCgroup(t, 0))
			other := startAgent(t, w.Pod, newCgroup(t, 0))
			apply(t, w.Pod, nodePlan(t, nil, "excludeOutboundPorts=9999"))
			w.only(t, map[string]*agentProcess{}, agent, other)
			agent.exempts(t)
			w.only(t, map[string]*agentProcess{"the agent": agent}, other)
			if err := nft.Exempt(w.Pod.FD(), rules.Agents{}); err != nil {
				t.Fatal(err)
			}
			w.only(t, map[string]*agentProcess{}, agent, other)
		})
	}
}

// only demands that what some agents send arrives over both families, and what others
// or the pod itself send does not.
func (w *wire) only(t *testing.T, exempt map[string]*agentProcess, others ...*agentProcess) {
	t.Helper()
	for _, to := range []netip.Addr{w.To4, w.To6} {
		for name, agent := range exempt {
			if seen := w.watchRoot(t, agent.sends(t, to)); len(seen) < 2 {
				t.Errorf("%s to %s: %d packets", name, to, len(seen))
			}
		}
		for i, other := range others {
			if seen := w.watchRoot(t, other.sends(t, to)); len(seen) > 0 {
				t.Errorf("number %d, which is not exempt, to %s: %d packets", i, to, len(seen))
			}
		}
		if seen := w.watchRoot(t, func() { escape.Connect(to, 80) }); len(seen) > 0 {
			t.Errorf("a process of the pod to %s: %d packets", to, len(seen))
		}
	}
}

// While one agent takes over from another both are exempt, at whatever levels they
// are; then the older one is not any more.
func TestWhileAgentsOverlapBothAreExempt(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	w := newWire(t, rulestest.NewPair(t))
	rulestest.Echo(t, w.Pod, ":15001", "proxy")
	older := startAgent(t, w.Pod, newCgroup(t, 0))
	newer := startAgentAs(t, agentUnshare, w.Pod, newCgroup(t, 2))
	apply(t, w.Pod, nodePlan(t, nil, "excludeOutboundPorts=9999"))
	older.exempts(t)
	w.only(t, map[string]*agentProcess{"the older": older}, newer)
	newer.exempts(t, older.own(t))
	w.only(t, map[string]*agentProcess{"the older": older, "the newer": newer})
	newer.exempts(t)
	w.only(t, map[string]*agentProcess{"the newer": newer}, older)
}

// An agent in the root cgroup would exempt everybody with itself.
func TestAnAgentInTheRootCgroupIsToldToJoinOne(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t)
	needsCgroups(t)
	ns := labtest.New(t)
	root := rulestest.RootCgroup(t)
	for _, how := range []string{agentHere, agentUnshare} {
		answer := startAgentAs(t, how, ns, root).ask(t, "own")
		if !strings.HasPrefix(answer, "error: ") || !strings.Contains(answer, "root of the cgroup") || !strings.Contains(answer, "--cgroup") {
			t.Errorf("%s: %s", how, answer)
		}
	}
}
