package nft_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// nodePlan is a plan in node mode.
func nodePlan(t testing.TB, options []rules.Option, fields ...string) rules.Plan {
	t.Helper()
	p, err := rules.NewPlan(rulestest.Config(t, fields...), append([]rules.Option{rules.NodeMode()}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAgentsAreExemptByNoPartOfThePlan(t *testing.T) {
	t.Parallel()
	ns, p := labtest.New(t), nodePlan(t, nil)
	apply(t, ns, p)
	one, two := rules.Agents{Levels: []int{2}, IDs: []uint64{4711}}, rules.Agents{Levels: []int{3}, IDs: []uint64{4712}}
	for _, agents := range []rules.Agents{one, rules.Union(one, two), two, {}} {
		if err := nft.Exempt(ns.FD(), agents); err != nil {
			t.Fatal(err)
		}
		if err := nft.Check(ns.FD(), p); err != nil {
			t.Errorf("%v: %v", agents, err)
		}
		before := handles(t, ns)
		apply(t, ns, p)
		if after := handles(t, ns); after != before {
			t.Errorf("%v: applying the same plan replaced rules", agents)
		}
		exempting := nodePlan(t, []rules.Option{rules.Exempting(agents)})
		if err := nft.Check(ns.FD(), exempting); err != nil {
			t.Errorf("%v are not the agents: %v", agents, err)
		}
	}
}

func TestExemptNeedsRulesOfNodeMode(t *testing.T) {
	t.Parallel()
	ns, agents := labtest.New(t), rules.Agents{Levels: []int{2}, IDs: []uint64{4711}}
	if err := nft.Exempt(ns.FD(), agents); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without rules: %v", err)
	}
	apply(t, ns, rulestest.Plan(t))
	if err := nft.Exempt(ns.FD(), agents); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("with rules for a proxy inside: %v", err)
	}
	apply(t, ns, nodePlan(t, nil))
	if err := nft.Exempt(ns.FD(), agents); err != nil {
		t.Error(err)
	}
	if err := nft.Exempt(ns.FD(), rules.Agents{Levels: []int{0}, IDs: []uint64{1}}); err == nil || !strings.Contains(err.Error(), "every process") {
		t.Errorf("the root's: %v", err)
	}
}

func TestWhatWasAppliedInNodeModeCanBeReadBack(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	if _, found, err := nft.Read(ns.FD()); found || err != nil {
		t.Errorf("without rules: %t, %v", found, err)
	}
	p := nodePlan(t, []rules.Option{rules.Running(), rules.Gated(10 * time.Second), rules.FromAuto()}, "failurePolicy=bypass", "includeIPRanges=10.96.0.0/12")
	apply(t, ns, p)
	got, found, err := nft.Read(ns.FD())
	if err != nil || !found || got.Hash != p.Hash || got.Config.Hash() != p.Hash || !got.Running || !got.Auto || !got.Node || got.Disabled || got.Gate != 10*time.Second {
		t.Errorf("%+v, %t, %v", got, found, err)
	}
	again, err := rules.NewPlan(got.Config, got.Options()...)
	if err != nil || nft.Check(ns.FD(), again) != nil {
		t.Errorf("made again from that: %v, %v", err, nft.Check(ns.FD(), again))
	}
	if err := nft.Disable(ns.FD()); err != nil {
		t.Fatal(err)
	}
	if got, found, err := nft.Read(ns.FD()); err != nil || !found || !got.Disabled || !got.Node || !got.Auto {
		t.Errorf("disabled: %+v, %t, %v", got, found, err)
	}
}

func TestReplaceSetsChangesRangesAndNothingElse(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	auto := []rules.Option{rules.FromAuto()}
	from := nodePlan(t, auto, "includeIPRanges=10.0.0.0/8", "dnsCapture=true")
	to := nodePlan(t, auto, "includeIPRanges=10.0.0.0/8,fd00::/8", "dnsCapture=true")
	if err := nft.ReplaceSets(ns.FD(), from.Hash, to); !errors.Is(err, nft.ErrOther) {
		t.Errorf("without rules: %v", err)
	}
	apply(t, ns, from)
	agents := rules.Agents{Levels: []int{2}, IDs: []uint64{4711}}
	if err := nft.Exempt(ns.FD(), agents); err != nil {
		t.Fatal(err)
	}
	before := handles(t, ns)
	if err := nft.ReplaceSets(ns.FD(), from.Hash, to); err != nil {
		t.Fatal(err)
	}
	if after := handles(t, ns); after != before {
		t.Error("rules were replaced")
	}
	if err := nft.Check(ns.FD(), nodePlan(t, []rules.Option{rules.FromAuto(), rules.Exempting(agents)}, "includeIPRanges=10.0.0.0/8,fd00::/8", "dnsCapture=true")); err != nil {
		t.Error(err)
	}
	for name, other := range map[string]rules.Plan{
		"another hash":    from, // which is not what is there any more
		"other rules":     nodePlan(t, auto, "includeIPRanges=10.0.0.0/8", "nonTCP=allow", "dnsCapture=true"),
		"not node mode":   rulestest.Plan(t, "includeIPRanges=10.0.0.0/8", "dnsCapture=true"),
		"no frames":       nodePlan(t, auto, "includeIPRanges=10.0.0.0/8", "failurePolicy=bypass", "dnsCapture=true"),
		"other interface": nodePlan(t, auto, "includeIPRanges=10.0.0.0/8", "excludeInterfaces=net1", "dnsCapture=true"),
	} {
		hash := to.Hash
		if name == "another hash" {
			hash = from.Hash
		}
		if err := nft.ReplaceSets(ns.FD(), hash, other); !errors.Is(err, nft.ErrOther) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := nft.Disable(ns.FD()); err != nil {
		t.Fatal(err)
	}
	if err := nft.ReplaceSets(ns.FD(), to.Hash, from); !errors.Is(err, nft.ErrOther) {
		t.Errorf("disabled: %v", err)
	}
}

// A change of rules replaces all but what only agents can write.
func TestApplyKeepsTheAgentsWhereItReplacesRules(t *testing.T) {
	t.Parallel()
	ns, agents := labtest.New(t), rules.Agents{Levels: []int{2, 4}, IDs: []uint64{4711, 4712}}
	apply(t, ns, nodePlan(t, nil))
	if err := nft.Exempt(ns.FD(), agents); err != nil {
		t.Fatal(err)
	}
	for _, fields := range [][]string{{"dnsCapture=true"}, {"nonTCP=allow", "failurePolicy=bypass"}, {"exemption=mark", "exemptMark=7"}, {}} {
		apply(t, ns, nodePlan(t, nil, fields...))
		if err := nft.Check(ns.FD(), nodePlan(t, []rules.Option{rules.Exempting(agents)}, fields...)); err != nil {
			t.Errorf("%v: %v", fields, err)
		}
	}
	none := nodePlan(t, []rules.Option{rules.Exempting(rules.Agents{})}, "dnsCapture=true")
	apply(t, ns, none)
	if err := nft.Check(ns.FD(), none); err != nil {
		t.Errorf("who is exempt is not what the plan says: %v", err)
	}
}

// Whoever is not the proxy applies rules without saying that there is one.
func TestSilentIsNoHeartbeatAndEndsNone(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	port := rulestest.Echo(t, p.Server, ":0", "there")
	rulestest.Echo(t, p.Pod, ":15001", "proxy")
	who := func() string { return rulestest.Ask(dial(t, p.Pod, "10.50.0.1", port)) }
	silent := []rules.Option{rules.Gated(time.Minute), rules.Silent()}
	for _, fields := range [][]string{{"failurePolicy=bypass"}, {"failurePolicy=bypass", "nonTCP=allow"}} {
		apply(t, p.Pod, nodePlan(t, nil, fields...))
		apply(t, p.Pod, nodePlan(t, silent, fields...))
		if got := who(); got != "there" {
			t.Errorf("before a heartbeat: %s", got)
		}
		if err := nft.Beat(p.Pod.FD(), time.Minute); err != nil {
			t.Fatal(err)
		}
		for name, again := range map[string]func(){
			"applied":          func() { apply(t, p.Pod, nodePlan(t, silent, fields...)) },
			"refreshed":        func() { must(t, nft.Refresh(p.Pod.FD())) },
			"with other rules": func() { apply(t, p.Pod, nodePlan(t, silent, append(fields, "dnsCapture=true")...)) },
		} {
			again()
			if got := who(); got != "proxy" {
				t.Errorf("%s after a heartbeat: %s", name, got)
			}
		}
	}
}

func TestCheckNamesWhatWasTamperedWithInNodeMode(t *testing.T) {
	t.Parallel()
	table := &nftables.Table{Name: "sluice", Family: nftables.TableFamilyINet}
	accept := []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	agents := rules.Agents{Levels: []int{2}, IDs: []uint64{4711}}
	exempting := nodePlan(t, []rules.Option{rules.Exempting(agents)})
	for _, tc := range []struct {
		name, want string
		tamper     func(*nftables.Conn) error
		// ids: only who knows the agents can see it.
		ids bool
	}{
		{name: "jump deleted", want: `chain direct: rule "agent" is missing`, tamper: rulestest.DeleteRule("direct", "agent")},
		{name: "rule before the jump", want: `chain direct: rule "" (handle `, tamper: func(c *nftables.Conn) error {
			c.InsertRule(&nftables.Rule{Table: table, Chain: &nftables.Chain{Name: "direct"}, Exprs: accept})
			return nil
		}},
		{name: "everybody exempt", want: `chain agent: rule "" (handle `, tamper: func(c *nftables.Conn) error {
			c.AddRule(&nftables.Rule{Table: table, Chain: &nftables.Chain{Name: "agent"}, Exprs: accept})
			return nil
		}},
		{name: "everybody exempt by the agents' name", want: `chain agent: rule "agent at level 2" was changed`, tamper: rulestest.ReplaceRule("agent", "agent at level 2", expr.VerdictAccept)},
		{name: "another is an agent", ids: true, want: `set agent_cgroups: holds elements that are not sluice's`, tamper: func(c *nftables.Conn) error {
			return c.SetAddElements(&nftables.Set{Table: table, Name: "agent_cgroups", KeyType: nftables.TypeCGroupV2}, []nftables.SetElement{{Key: []byte{9, 9, 0, 0, 0, 0, 0, 0}}})
		}},
		{name: "no agent", ids: true, want: `chain agent: rule "agent at level 2" is missing`, tamper: func(c *nftables.Conn) error {
			c.FlushChain(&nftables.Chain{Table: table, Name: "agent"})
			return nil
		}},
		{name: "something that holds our chains", want: "set mine: not sluice's", tamper: func(c *nftables.Conn) error {
			jumps := &nftables.Set{ID: 1, Table: table, Name: "mine", KeyType: nftables.TypeMark, IsMap: true, DataType: nftables.TypeVerdict}
			return c.AddSet(jumps, []nftables.SetElement{{Key: []byte{1, 0, 0, 0}, VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: "excluded"}}})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ns := labtest.New(t)
			apply(t, ns, exempting)
			rulestest.Tamper(t, ns, tc.tamper)
			if err := nft.Check(ns.FD(), exempting); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the agent sees %v; want %q", err, tc.want)
			}
			if err := nft.Check(ns.FD(), nodePlan(t, nil)); tc.ids != (err == nil) {
				t.Errorf("CHECK sees %v", err)
			}
			apply(t, ns, exempting)
			if err := nft.Check(ns.FD(), exempting); err != nil {
				t.Errorf("after applying again: %v", err)
			}
		})
	}
}
