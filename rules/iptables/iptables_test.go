package iptables_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

func TestWhatWasAppliedPassesCheckAndRemoveLeavesNothing(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		for name, p := range map[string]rules.Plan{
			"default": rulestest.Plan(t), "full": full(t), "none": rulestest.Plan(t, "includeIPRanges="),
			"owner":  rulestest.Plan(t, "exemptUIDs=0", "exemptGIDs=0"),
			"allow":  rulestest.Plan(t, "nonTCP=allow", "includeOutboundPorts=*"),
			"bypass": rulestest.Plan(t, "nonTCP=allow", "failurePolicy=bypass"),
		} {
			t.Run(name, func(t *testing.T) {
				ns := labtest.New(t)
				apply(t, fw, ns, p)
				if err := fw.Check(ns.FD(), p); err != nil {
					t.Error(err)
				}
				if hash, err := fw.Applied(ns.FD()); err != nil || hash != p.Hash {
					t.Errorf("hash %q, %v; want %q", hash, err, p.Hash)
				}
				if c, found, err := fw.Stored(ns.FD()); err != nil || !found || c.Hash() != p.Hash {
					t.Errorf("stored %+v, %t, %v", c, found, err)
				}
				for range 2 {
					if err := fw.Remove(ns.FD()); err != nil {
						t.Error(err)
					}
				}
				if left := ours(saved(t, ns, fw)); left != "" {
					t.Errorf("left:\n%s", left)
				}
				if err := fw.Check(ns.FD(), p); err == nil || !strings.Contains(err.Error(), "missing") {
					t.Errorf("check after removal: %v", err)
				}
				if hash, err := fw.Applied(ns.FD()); err != nil || hash != "" {
					t.Errorf("hash after removal %q, %v", hash, err)
				}
			})
		}
	})
}

func TestApplyAgainChangesNothingAndAnotherConfigReplacesAll(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		ns, fresh := labtest.New(t), labtest.New(t)
		apply(t, fw, ns, full(t))
		// A rule that is loaded again counts from zero.
		tables(t, ns, fw, "iptables", "-t", "nat", "-R", "OUTPUT", "1", "-c", "7", "70", "-m", "comment", "--comment", "sluice", "-j", "SLUICE_OUTPUT_NAT")
		apply(t, fw, ns, full(t))
		if out := tables(t, ns, fw, "iptables-save", "-c"); !strings.Contains(out, "[7:70] -A OUTPUT") {
			t.Errorf("the rules were loaded again:\n%s", out)
		}
		other := rulestest.Plan(t, "includeIPRanges=192.0.2.0/24")
		if err := fw.Check(ns.FD(), other); err == nil {
			t.Error("check accepts another configuration's rules")
		}
		apply(t, fw, ns, other)
		apply(t, fw, fresh, other)
		if got, want := ours(saved(t, ns, fw)), ours(saved(t, fresh, fw)); got != want {
			t.Errorf("over another configuration:\n%s\nin a fresh namespace:\n%s", got, want)
		}
	})
}

func TestCheckNamesWhatWasTamperedWithAndApplyRepairsIt(t *testing.T) {
	for name, tc := range map[string]struct {
		program, args, want string
	}{
		"rule deleted":       {"iptables", "-t nat -F SLUICE_OUTPUT_NAT_1", `IPv4 nat chain SLUICE_OUTPUT_NAT_1: rule "`},
		"first rule deleted": {"iptables", "-t filter -D SLUICE_OUTPUT_FILTER 1", `IPv4 filter chain SLUICE_OUTPUT_FILTER: rule "ongoing" is missing`},
		"IPv6 rule deleted":  {"ip6tables", "-t filter -D SLUICE_OUTPUT_FILTER 3", `IPv6 filter chain SLUICE_OUTPUT_FILTER: rule "redirected" is missing`},
		"jump deleted":       {"iptables", "-t nat -D OUTPUT 1", `IPv4 nat chain OUTPUT: rule "-m comment --comment sluice -j SLUICE_OUTPUT_NAT" is missing`},
		"jump doubled":       {"ip6tables", "-t nat -A OUTPUT -p udp -j SLUICE_OUTPUT_NAT", `IPv6 nat chain OUTPUT: rule "-p udp -j SLUICE_OUTPUT_NAT" is not sluice's`},
		"rule added":         {"iptables", "-t filter -I SLUICE_OUTPUT_FILTER 1 -j RETURN", `IPv4 filter chain SLUICE_OUTPUT_FILTER: rule "" is not sluice's (-j RETURN)`},
		"rule replaced":      {"iptables", "-t filter -R SLUICE_OUTPUT_FILTER 1 -m comment --comment ongoing -j RETURN", `rule "ongoing" was changed`},
		"chain added":        {"ip6tables", "-t raw -N SLUICE_MINE", `IPv6 raw chain SLUICE_MINE: not sluice's`},
		"record deleted":     {"iptables", "-t nat -F SLUICE_APPLIED", `SLUICE_APPLIED: rule "config sha256:`},
	} {
		t.Run(name, func(t *testing.T) {
			eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
				ns := labtest.New(t)
				apply(t, fw, ns, full(t))
				good := saved(t, ns, fw)
				tables(t, ns, fw, tc.program, strings.Fields(tc.args)...)
				err := fw.Check(ns.FD(), full(t))
				var drift rules.Drift
				if !errors.As(err, &drift) || !strings.Contains(err.Error(), tc.want) {
					t.Fatalf("check says %v; want %q", err, tc.want)
				}
				apply(t, fw, ns, full(t))
				if got := saved(t, ns, fw); got != good {
					t.Errorf("after applying again:\n%s\nwas:\n%s", got, good)
				}
			})
		})
	}
}

func TestForeignRulesAreIgnoredAndKept(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		ns := labtest.New(t)
		foreign := func() {
			tables(t, ns, fw, "iptables", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "9", "-m", "comment", "--comment", "not -j SLUICE_X", "-j", "ACCEPT")
			tables(t, ns, fw, "ip6tables", "-t", "filter", "-I", "OUTPUT", "-d", "2001:db8::9", "-j", "DROP")
		}
		foreign()
		tables(t, ns, fw, "iptables", "-t", "filter", "-N", "OTHERS")
		before := saved(t, ns, fw)
		apply(t, fw, ns, full(t))
		foreign()
		if err := fw.Check(ns.FD(), full(t)); err != nil {
			t.Error(err)
		}
		if err := fw.Remove(ns.FD()); err != nil {
			t.Fatal(err)
		}
		after := saved(t, ns, fw)
		for line := range strings.Lines(before) {
			if !strings.Contains(after, line) {
				t.Errorf("lost %s", line)
			}
		}
	})
}

func TestConcurrentAppliesLeaveOneSetOfRules(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		p := full(t)
		for range 3 {
			ns := labtest.New(t)
			errs := make(chan error, 4)
			for range cap(errs) {
				go func() { errs <- fw.Apply(ns.FD(), p) }()
			}
			for range cap(errs) {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			if err := fw.Check(ns.FD(), p); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAnEnrolledWhileRunningPlanPassesCheckOfThePlainOne(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		ns := labtest.New(t)
		running, err := rules.NewPlan(rules.Default(), rules.Running())
		if err != nil {
			t.Fatal(err)
		}
		apply(t, fw, ns, running)
		if err := fw.Check(ns.FD(), rulestest.Plan(t)); err != nil {
			t.Error(err)
		}
	})
}

func TestTheKernelLacksNothing(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		if err := fw.Probe(); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatIPTablesCannotDoIsRefusedOrSaid(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		ns := labtest.New(t)
		c := rules.Default()
		c.FailurePolicy = rules.FailureBypass
		gated, err := rules.NewPlan(c, rules.Gated(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if err := fw.Apply(ns.FD(), gated); !errors.Is(err, rules.ErrUnsupported) || !strings.Contains(err.Error(), "heartbeat") {
			t.Errorf("a heartbeat: %v", err)
		}
		absent := rulestest.Plan(t, "exemption=cgroup", "exemptCgroups=/no/such/cgroup")
		if err := fw.Apply(ns.FD(), absent); err == nil || !strings.Contains(err.Error(), `exemptCgroups "/no/such/cgroup"`) {
			t.Errorf("a cgroup that is not there: %v", err)
		}
		if err := fw.Apply(ns.FD()+100000, rulestest.Plan(t)); err == nil {
			t.Error("applied to a descriptor that is not open")
		}
	})
	fields := map[string]bool{}
	for _, w := range iptables.Limits(rulestest.Plan(t, "exemption=mark", "exemptMark=7")) {
		fields[w.Field] = true
	}
	if !fields["failurePolicy"] || !fields["exemption"] {
		t.Errorf("limits named: %v", fields)
	}
}

// In node mode iptables knows the agent by its secret mark, and by nothing else.
func TestInNodeModeTheAgentIsKnownByItsMark(t *testing.T) {
	eachVariant(t, func(t *testing.T, fw *iptables.Firewall) {
		ns := labtest.New(t)
		node := func(text string, options ...rules.Option) rules.Plan {
			c, _, err := rules.Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			p, err := rules.NewPlan(c, append(options, rules.NodeMode())...)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		agents := rules.Exempting(rules.Agents{Levels: []int{2}, IDs: []uint64{4711}})
		for _, p := range []rules.Plan{node(`{}`), node(`{}`, agents), node(`{"exemption":"mark","exemptMark":7,"failurePolicy":"bypass"}`, rules.Gated(time.Second))} {
			if err := fw.Apply(ns.FD(), p); !errors.Is(err, rules.ErrUnsupported) {
				t.Errorf("%+v: %v", p.Config, err)
			}
		}
		p := node(`{"exemption":"mark","exemptMark":7,"includeIPRanges":"10.0.0.0/8"}`, rules.FromAuto(), rules.Running(), agents)
		if err := errors.Join(fw.Apply(ns.FD(), p), fw.Check(ns.FD(), p)); err != nil {
			t.Fatal(err)
		}
		got, found, err := fw.Read(ns.FD())
		if err != nil || !found || got.Hash != p.Hash || got.Config.ExemptMark != 7 || !got.Node || !got.Auto || !got.Running || got.Disabled {
			t.Errorf("%+v, %t, %v", got, found, err)
		}
		again, err := rules.NewPlan(got.Config, got.Options()...)
		if err = errors.Join(err, fw.Check(ns.FD(), again), fw.Disable(ns.FD())); err != nil {
			t.Error(err)
		}
		if got, found, err := fw.Read(ns.FD()); err != nil || !found || !got.Disabled || !got.Node {
			t.Errorf("disabled: %+v, %t, %v", got, found, err)
		}
		sidecar, err := rules.NewPlan(p.Config, rules.Running())
		if err == nil {
			err = errors.Join(fw.Apply(ns.FD(), p), fw.Check(ns.FD(), p))
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := fw.Check(ns.FD(), sidecar); err == nil {
			t.Error("rules of node mode pass for those of a proxy inside")
		}
	})
}
