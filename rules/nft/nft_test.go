package nft_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// full uses every field, so that every set has elements and every rule exists.
func full(t testing.TB) rules.Plan {
	return rulestest.Plan(t, "includeIPRanges=10.0.0.0/8,127.0.0.2,240.0.0.0/4,2001:db8::/32,::1", "excludeIPRanges=10.96.0.0/12,ff00::/8",
		"includeOutboundPorts=80,8000-8999", "excludeOutboundPorts=22,60000-65535", "exemptUIDs=1337,7", "exemptGIDs=1337",
		"excludeInterfaces=net1,net2", "dnsCapture=true", "dnsServers=10.96.0.10,127.0.0.53,2001:db8::53")
}

// running is the plan for a namespace that has connections already.
func running(t testing.TB, settings ...string) rules.Plan {
	t.Helper()
	p, err := rules.NewPlan(rulestest.Config(t, settings...), rules.Running())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func apply(t testing.TB, ns *lab.Namespace, p rules.Plan) {
	t.Helper()
	if err := nft.Apply(ns.FD(), p); err != nil {
		t.Fatalf("apply: %v\n%s", err, p)
	}
}

func TestWhatWasAppliedPassesCheckAndRemoveLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]rules.Plan{
		"default": rulestest.Plan(t), "full": full(t), "none": rulestest.Plan(t, "includeIPRanges="),
		"mark":  rulestest.Plan(t, "exemption=mark", "exemptMark=0x539"),
		"allow": rulestest.Plan(t, "nonTCP=allow", "includeOutboundPorts=*"),
	} {
		t.Run(name, func(t *testing.T) {
			ns := labtest.New(t)
			apply(t, ns, p)
			if err := nft.Check(ns.FD(), p); err != nil {
				t.Error(err)
			}
			if hash, err := nft.Hash(ns.FD()); err != nil || hash != p.Hash {
				t.Errorf("hash %q, %v; want %q", hash, err, p.Hash)
			}
			for range 2 {
				if err := nft.Remove(ns.FD()); err != nil {
					t.Error(err)
				}
			}
			if tables := tables(t, ns); len(tables) != 0 {
				t.Errorf("left: %v", tables)
			}
			if err := nft.Check(ns.FD(), p); err == nil || !strings.Contains(err.Error(), "table inet sluice: missing") {
				t.Errorf("check after removal: %v", err)
			}
		})
	}
}

func TestApplyAgainChangesNothingAndAnotherConfigReplacesAll(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	apply(t, ns, full(t))
	before := handles(t, ns)
	apply(t, ns, full(t))
	if after := handles(t, ns); after != before {
		t.Errorf("rules were replaced by the same: %s, then %s", before, after)
	}
	other := rulestest.Plan(t, "includeIPRanges=192.0.2.0/24")
	if err := nft.Check(ns.FD(), other); err == nil {
		t.Error("check accepts another configuration's rules")
	}
	apply(t, ns, other)
	if err := nft.Check(ns.FD(), other); err != nil {
		t.Error(err)
	}
}

func TestTwentyThousandRangesFitOneTransaction(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t) // only root may send so large a message
	var ranges []string
	for i := range 20000 {
		ranges = append(ranges, fmt.Sprintf("10.%d.%d.0/25", i>>8, i&255), fmt.Sprintf("2001:db8:%x::/64", i))
	}
	p := rulestest.Plan(t, "includeIPRanges="+strings.Join(ranges, ","))
	ns := labtest.New(t)
	apply(t, ns, p)
	if err := nft.Check(ns.FD(), p); err != nil {
		t.Error(err)
	}
	if got, want := ruleCount(p), ruleCount(rulestest.Plan(t)); got != want {
		t.Errorf("%d rules for 40 000 ranges, %d for one", got, want)
	}
}

func TestProbeIsContentWithThisKernelAndNothingIsMissing(t *testing.T) {
	if err := nft.Probe(); err != nil {
		t.Error(err)
	}
	if err := nft.Missing(); err != nil {
		t.Error(err)
	}
}

func TestCheckNamesWhatWasTamperedWith(t *testing.T) {
	t.Parallel()
	table := &nftables.Table{Name: "sluice", Family: nftables.TableFamilyINet}
	for _, tc := range []struct {
		name, want string
		tamper     func(*nftables.Conn) error
	}{
		{"rule deleted", `chain output_nat: rule "included IPv4 range" is missing`, rulestest.DeleteRule("output_nat", "included IPv4 range")},
		{"exemption deleted", `chain direct: rule "exempt gid" is missing`, rulestest.DeleteRule("direct", "exempt gid")},
		{"rule added in front", `chain direct: rule "" (handle `, func(c *nftables.Conn) error {
			c.InsertRule(&nftables.Rule{Table: table, Chain: &nftables.Chain{Name: "direct"}, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}})
			return nil
		}},
		{"rule replaced", `chain output_nat: rule "included port" was changed`, rulestest.ReplaceRule("output_nat", "included port", expr.VerdictAccept)},
		{"chain flushed", `chain output_filter: rule "ongoing" is missing`, func(c *nftables.Conn) error {
			c.FlushChain(&nftables.Chain{Table: table, Name: "output_filter"})
			return nil
		}},
		{"chain added", `chain mine: not sluice's`, func(c *nftables.Conn) error {
			c.AddChain(&nftables.Chain{Table: table, Name: "mine"})
			return nil
		}},
		{"policy changed", `chain output_nat: its hook, priority or policy was changed`, func(c *nftables.Conn) error {
			drop := nftables.ChainPolicyDrop
			c.AddChain(&nftables.Chain{Table: table, Name: "output_nat", Policy: &drop})
			return nil
		}},
		{"element added", `set exempt_uids: holds elements that are not sluice's (0)`, func(c *nftables.Conn) error {
			return c.SetAddElements(&nftables.Set{Table: table, Name: "exempt_uids"}, []nftables.SetElement{{Key: []byte{0, 0, 0, 0}}})
		}},
		{"range added", `set exclude_ipv4: holds elements that are not sluice's (172.16.0.0)`, func(c *nftables.Conn) error {
			return c.SetAddElements(&nftables.Set{Table: table, Name: "exclude_ipv4", Interval: true, KeyType: nftables.TypeIPAddr}, []nftables.SetElement{
				{Key: []byte{0, 0, 0, 0}, IntervalEnd: true}, {Key: []byte{172, 16, 0, 0}}, {Key: []byte{172, 17, 0, 0}, IntervalEnd: true}})
		}},
		{"elements removed", `set include_ipv4: elements are missing (10.0.0.0)`, func(c *nftables.Conn) error {
			c.FlushSet(&nftables.Set{Table: table, Name: "include_ipv4"})
			return nil
		}},
		{"set added", `set mine: not sluice's`, func(c *nftables.Conn) error {
			return c.AddSet(&nftables.Set{ID: 1, Table: table, Name: "mine", KeyType: nftables.TypeMark}, nil)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ns := labtest.New(t)
			apply(t, ns, full(t))
			before := stateOf(t, ns)
			rulestest.Tamper(t, ns, tc.tamper)
			if stateOf(t, ns) == before {
				t.Error("that makes no other state")
			}
			err := nft.Check(ns.FD(), full(t))
			var drift nft.Drift
			if !errors.As(err, &drift) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("check says %v; want %q", err, tc.want)
			}
			apply(t, ns, full(t))
			if err := nft.Check(ns.FD(), full(t)); err != nil {
				t.Errorf("after applying again: %v", err)
			}
		})
	}
}

func TestCheckIgnoresForeignTables(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	apply(t, ns, full(t))
	for _, family := range []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyIPv4} {
		rulestest.Tamper(t, ns, func(c *nftables.Conn) error {
			name := "foreign"
			if family == nftables.TableFamilyIPv4 {
				name = "sluice" // the same name in another family is another table
			}
			foreign := c.AddTable(&nftables.Table{Name: name, Family: family})
			chain := c.AddChain(&nftables.Chain{Name: "direct", Table: foreign})
			c.AddRule(&nftables.Rule{Table: foreign, Chain: chain, Exprs: []expr.Any{&expr.Counter{}}})
			return nil
		})
	}
	if err := nft.Check(ns.FD(), full(t)); err != nil {
		t.Error(err)
	}
	if err := nft.Remove(ns.FD()); err != nil || len(tables(t, ns)) != 2 {
		t.Errorf("after removal %v, %v", tables(t, ns), err)
	}
}

func TestErrorsOfTheSystemSayWhatToDo(t *testing.T) {
	t.Parallel()
	file := labtest.New(t)
	if err := nft.Apply(file.FD()+100000, rulestest.Plan(t)); err == nil {
		t.Error("applied to a descriptor that is not open")
	}
}

func ruleCount(p rules.Plan) int {
	n := 0
	for _, c := range p.Chains {
		n += len(c.Rules)
	}
	return n
}

func TestConcurrentAppliesLeaveOneTable(t *testing.T) {
	t.Parallel()
	for range 20 {
		ns := labtest.New(t)
		p := full(t)
		errs := make(chan error, 4)
		for range cap(errs) {
			go func() { errs <- nft.Apply(ns.FD(), p) }()
		}
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if err := nft.Check(ns.FD(), p); err != nil {
			t.Fatal(err)
		}
	}
}
