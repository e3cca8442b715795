package backend

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/iptables"
)

func TestMain(m *testing.M) { labtest.Main(m) }

var all = []rules.Backend{rules.BackendNFT, rules.BackendIPTablesNFT, rules.BackendIPTablesLegacy}

func plan(t testing.TB) rules.Plan {
	t.Helper()
	p, err := rules.NewPlan(rules.Default())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// needsPrograms is for tests with iptables, which only root's `make test` installs.
func needsPrograms(t testing.TB) {
	t.Helper()
	for _, v := range []iptables.Variant{iptables.NFT, iptables.Legacy} {
		_, err := iptables.Find(v)
		labtest.NeedsInstalled(t, err)
	}
}

func TestThisMachineHasEveryBackendAndAutoIsNFT(t *testing.T) {
	t.Parallel()
	b, why, err := Choose(rules.BackendAuto)
	if err != nil || b.Name() != rules.BackendNFT || !strings.Contains(why, "first choice") {
		t.Errorf("%v, %q, %v", b, why, err)
	}
	needsPrograms(t)
	for _, want := range all {
		b, why, err := Choose(want)
		if err != nil || b.Name() != want || !strings.Contains(why, "as configured") {
			t.Errorf("%s: %v, %q, %v", want, b, why, err)
		}
		if err := b.Missing(); err != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, _, err := Choose("ebpf"); err == nil || !strings.Contains(err.Error(), "use auto, nft") {
		t.Error(err)
	}
}

func TestAnotherBackendTakesOverAndOnlyItsRulesAreLeft(t *testing.T) {
	t.Parallel()
	needsPrograms(t)
	ns, p := labtest.New(t), plan(t)
	for i := range 7 { // every pair of neighbours, both ways
		want := all[[]int{0, 1, 2, 0, 2, 1, 0}[i]]
		b, _, err := Apply(want, ns.FD(), p)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Check(ns.FD(), p); err != nil {
			t.Error(err)
		}
		found, err := Installed(ns.FD())
		if err != nil || len(found) != 1 || found[0].Name() != want {
			t.Errorf("after %s: %v, %v", want, found, err)
		}
		if c, ok, err := found[0].Stored(ns.FD()); err != nil || !ok || c.Hash() != p.Hash {
			t.Errorf("%s stored %v, %t, %v", want, c, ok, err)
		}
	}
	for _, do := range []func(int) error{Disable, Remove, Remove, Disable} {
		if err := do(ns.FD()); err != nil {
			t.Error(err)
		}
	}
	if found, err := Installed(ns.FD()); err != nil || len(found) > 0 {
		t.Errorf("left %v, %v", found, err)
	}
}

// fake is a backend of a machine that lacks something.
type fake struct {
	Backend
	name    rules.Backend
	missing error
	applied *[]rules.Backend
}

func (f fake) Name() rules.Backend { return f.name }
func (f fake) Missing() error      { return f.missing }
func (f fake) Apply(int, rules.Plan) error {
	*f.applied = append(*f.applied, f.name)
	return f.missing
}

func TestAutoTakesTheFirstThatWorksAndSaysWhatOthersLack(t *testing.T) {
	t.Parallel()
	lacks := func(part string) error { return fmt.Errorf("%w: %s is missing", rules.ErrUnsupported, part) }
	for name, tc := range map[string]struct {
		absent, lacking map[rules.Backend]error
		want            rules.Backend
		says            []string
	}{
		"all there":         {want: rules.BackendNFT, says: []string{"first choice"}},
		"no nf_tables":      {absent: map[rules.Backend]error{rules.BackendNFT: lacks("nf_tables")}, want: rules.BackendIPTablesNFT, says: []string{"since not nft", "nf_tables is missing"}},
		"half of nf_tables": {lacking: map[rules.Backend]error{rules.BackendNFT: lacks("nft_redir")}, want: rules.BackendIPTablesNFT, says: []string{"nft_redir is missing"}},
		"legacy only": {absent: map[rules.Backend]error{rules.BackendNFT: lacks("nf_tables")}, lacking: map[rules.Backend]error{rules.BackendIPTablesNFT: lacks("xt_owner")},
			want: rules.BackendIPTablesLegacy, says: []string{"nf_tables is missing", "nor iptables-nft", "xt_owner is missing"}},
		"nothing": {absent: map[rules.Backend]error{rules.BackendNFT: lacks("nf_tables"), rules.BackendIPTablesNFT: lacks("iptables")}, lacking: map[rules.Backend]error{rules.BackendIPTablesLegacy: lacks("ip6 nat")},
			says: []string{"nf_tables is missing", "iptables is missing", "ip6 nat is missing"}},
		"not root": {absent: map[rules.Backend]error{rules.BackendNFT: rules.ErrNotPermitted}, says: []string{"needs root"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var applied []rules.Backend
			var from []candidate
			for i, n := range all {
				c := candidate{n, func() (Backend, string, error) {
					return fake{name: n, missing: tc.lacking[n], applied: &applied}, "found", tc.absent[n]
				}, nil}
				if i > 0 {
					c.usable = Backend.Missing
				}
				from = append(from, c)
			}
			b, text, err := apply(from, rules.BackendAuto, labtest.New(t).FD(), rules.Plan{})
			if err != nil {
				text = err.Error()
			}
			if tc.want == "" != (err != nil) || err == nil && b.Name() != tc.want {
				t.Errorf("chose %v, %v; want %q", b, err, tc.want)
			}
			for _, s := range tc.says {
				if !strings.Contains(text, s) {
					t.Errorf("says %q; want %q in it", text, s)
				}
			}
			if strings.Contains(text, "\n") && err == nil {
				t.Errorf("the reason has lines: %q", text)
			}
		})
	}
}

func TestAnExplicitChoiceIsNeverReplaced(t *testing.T) {
	t.Parallel()
	var applied []rules.Backend
	missing := fmt.Errorf("%w: nft_redir is missing", rules.ErrUnsupported)
	from := []candidate{
		{rules.BackendNFT, func() (Backend, string, error) {
			return fake{name: rules.BackendNFT, missing: missing, applied: &applied}, "", nil
		}, nil},
		{rules.BackendIPTablesNFT, func() (Backend, string, error) {
			return fake{name: rules.BackendIPTablesNFT, applied: &applied}, "", nil
		}, nil},
	}
	if _, _, err := apply(from, rules.BackendNFT, labtest.New(t).FD(), rules.Plan{}); !errors.Is(err, rules.ErrUnsupported) || len(applied) != 1 {
		t.Errorf("%v after %v", err, applied)
	}
}
