package trace_test

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/backend"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
	"github.com/sluice-cni/sluice/rules/trace"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { labtest.Main(m) }

func apply(t *testing.T, ns *lab.Namespace, c rules.Config) {
	t.Helper()
	plan, err := rules.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := nft.Apply(ns.FD(), plan); err != nil {
		t.Fatal(err)
	}
}

// The oracle holds Decide to real packets; this holds the walk to Decide.
func TestTheWalkThroughTheKernelsRulesEndsAsDecideSays(t *testing.T) {
	t.Parallel()
	for _, name := range []rules.Backend{rules.BackendNFT, rules.BackendIPTablesNFT, rules.BackendIPTablesLegacy} {
		t.Run(string(name), func(t *testing.T) {
			t.Parallel()
			b, _, err := backend.Choose(name)
			if err != nil {
				labtest.NeedsOtherUsers(t) // only root's `make test` installs iptables
				t.Fatal(err)
			}
			r, ns := rulestest.NewRandom(rulestest.Seed(t), 0), labtest.New(t)
			for range 30 {
				c := r.Config()
				plan, err := rules.NewPlan(c)
				if err != nil {
					t.Fatal(err)
				}
				if c.Exemption == rules.ExemptByCgroup {
					continue // flows from cgroups are explain's to test
				}
				if err := b.Apply(ns.FD(), plan); err != nil {
					t.Fatal(err)
				}
				for range 20 {
					same(t, ns, name, c, r.FlowFor(c))
				}
			}
		})
	}
}

func same(t *testing.T, ns *lab.Namespace, b rules.Backend, c rules.Config, f rules.Flow) {
	t.Helper()
	got, err := trace.NFT(ns.FD(), f, nil)
	if b != rules.BackendNFT {
		got, err = trace.IPTables(ns.FD(), b, f)
	}
	if err != nil {
		t.Fatalf("%+v: %v", f, err)
	}
	want, line := rules.Decide(c, f)
	if v, known := got.Verdict(c, f); v != want || !known {
		text, _ := c.MarshalJSON()
		t.Fatalf("%s\nflow %+v\nthe walk: %s (%v)\nDecide: %s by %s", text, f, got, got.Steps, want, line)
	}
}

var flow = rules.Flow{Protocol: rules.TCP, Dst: netip.MustParseAddr("203.0.113.7"), DstPort: 443, OutInterface: "eth0"}

func walk(t *testing.T, ns *lab.Namespace, f rules.Flow) trace.Result {
	t.Helper()
	out, err := trace.NFT(ns.FD(), f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTheWalkNamesTheRuleThatDecides(t *testing.T) {
	t.Parallel()
	ns, c := labtest.New(t), rules.Default()
	c.ExemptUIDs = rules.IDs{1337}
	apply(t, ns, c)
	proxy, quic := flow, flow
	proxy.UID, quic.Protocol = 1337, rules.UDP
	for _, tc := range []struct {
		f           rules.Flow
		chain, rule string
	}{{flow, "output_nat", "included IPv4 range"}, {proxy, "direct", "exempt uid"}, {quic, "output_filter", "non-TCP to an IPv4 range"}} {
		got := walk(t, ns, tc.f)
		if got.Decided == nil || got.Decided.Chain != tc.chain || got.Decided.Rule != tc.rule || got.Decided.Handle == 0 {
			t.Errorf("%+v: %+v", tc.f, got)
		}
	}
}

func TestTheWalkSeesWhatTheKernelHasNotWhatItShouldHave(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*nftables.Conn) error
		want   trace.Fate
	}{
		"deleted":  {rulestest.DeleteRule("output_nat", "included IPv4 range"), trace.Dropped}, // by the second layer
		"accept":   {rulestest.ReplaceRule("output_nat", "included IPv4 range", expr.VerdictAccept), trace.Dropped},
		"drop":     {rulestest.ReplaceRule("output_nat", "included IPv4 range", expr.VerdictDrop), trace.Dropped},
		"no table": {rulestest.EditRule("output_nat", "included IPv4 range", func(c *nftables.Conn, r *nftables.Rule) { c.DelTable(r.Table) }), trace.Passes},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := labtest.New(t)
			apply(t, ns, rules.Default())
			rulestest.Tamper(t, ns, tc.change)
			if got := walk(t, ns, flow); got.Fate != tc.want {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Descriptor 0 is one as any, though to libraries it is none. Standard input's place is
// this process's to give: nobody in it reads there.
func TestDescriptor0IsANamespaceAsAny(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	apply(t, ns, rules.Default())
	if err := unix.Dup2(ns.FD(), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = errors.Join(unix.Dup2(null, 0), unix.Close(null))
		}
		if err != nil {
			t.Error(err)
		}
	})
	got, err := trace.NFT(0, flow, nil)
	if err != nil || got.Fate != trace.Redirected {
		t.Errorf("%+v, %v", got, err)
	}
	if applied, found, err := nft.Read(0); err != nil || !found || applied.Disabled {
		t.Errorf("read: %+v, %v, %v", applied, found, err)
	}
	if err := nft.Remove(0); err != nil {
		t.Fatal(err)
	}
	if _, found, err := nft.Read(ns.FD()); err != nil || found {
		t.Errorf("the rules are still in the namespace: %v, %v", found, err)
	}
}

func TestOtherPeoplesChainsAreNamed(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	apply(t, ns, rules.Default())
	c, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	foreign := c.AddTable(&nftables.Table{Name: "docker", Family: nftables.TableFamilyIPv4})
	c.AddChain(&nftables.Chain{Name: "OUT", Table: foreign, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := walk(t, ns, flow); len(got.Others) != 1 || got.Others[0] != "ip docker, chain OUT" || got.Fate != trace.Redirected {
		t.Errorf("%+v", got)
	}
}
