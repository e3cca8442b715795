package nft_test

import (
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
	"github.com/vishvananda/netlink"
)

func stateOf(t testing.TB, ns *lab.Namespace) nft.State {
	t.Helper()
	s, err := nft.StateOf(ns.FD())
	must(t, err)
	return s
}

// Connections, refusals and looking at rules leave the state as it is. What a Check could
// find does not, be it by us, by somebody else, or by an interface that goes.
func TestAStateStaysUntilRulesOrInterfacesChange(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	port := rulestest.Echo(t, p.Server, ":0", "there")
	rulestest.Echo(t, p.Pod, ":15001", "proxy")
	gated := nodePlan(t, []rules.Option{rules.Gated(time.Hour)}, "failurePolicy=bypass", "includeIPRanges=10.50.0.1")
	apply(t, p.Pod, gated)
	must(t, nft.Beat(p.Pod.FD(), time.Hour))

	before := stateOf(t, p.Pod)
	for host, want := range map[string]string{"10.50.0.1": "proxy", "fd50::1": "there"} {
		if who := rulestest.Ask(dial(t, p.Pod, host, port)); who != want {
			t.Errorf("%s: %s, want %s", host, who, want)
		}
	}
	must(t, nft.Check(p.Pod.FD(), gated))
	if stateOf(t, p.Pod) != before {
		t.Error("traffic and a check make another state")
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"rules are disabled", func() error { return nft.Disable(p.Pod.FD()) }},
		{"others are applied", func() error { return nft.Apply(p.Pod.FD(), nodePlan(t, nil, "includeIPRanges=10.50.0.1")) }},
		{"others are exempt", func() error { return nft.Exempt(p.Pod.FD(), rules.Agents{Levels: []int{2}, IDs: []uint64{4711}}) }},
		{"an interface comes", func() error { return withLink(p.Pod, netlink.LinkAdd, "extra0") }},
		{"it gets its chain", func() error { return nft.Refresh(p.Pod.FD()) }},
		{"it is renamed", func() error {
			return withLink(p.Pod, func(l netlink.Link) error {
				return netlink.LinkSetName(l, "extra1")
			}, "extra0")
		}},
		{"it goes", func() error { return withLink(p.Pod, netlink.LinkDel, "extra1") }},
	} {
		before := stateOf(t, p.Pod)
		must(t, step.do())
		if stateOf(t, p.Pod) == before {
			t.Errorf("%s: that makes no other state", step.name)
		}
	}
}

// withLink does something with the interface of a name, which may not be there yet.
func withLink(in *lab.Namespace, do func(netlink.Link) error, name string) error {
	return in.Do(func() error {
		link := netlink.Link(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "peer-" + name})
		if known, err := netlink.LinkByName(name); err == nil {
			link = known
		}
		return do(link)
	})
}

func TestRemovedRulesDoNotLeaveTheStateThatTheyFound(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	before := stateOf(t, ns)
	apply(t, ns, full(t))
	applied := stateOf(t, ns)
	must(t, nft.Remove(ns.FD()))
	if after := stateOf(t, ns); before == applied || applied == after || before == after {
		t.Error("a namespace without rules, with them, and without again is in the same state")
	}
}
