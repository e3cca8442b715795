package rules_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func plan(t testing.TB, text string) rules.Plan {
	t.Helper()
	p, err := rules.NewPlan(parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlansPrintAsNftWouldListThem(t *testing.T) {
	for name, text := range map[string]string{
		"default": `{}`,
		"full": `{"includeIPRanges":"10.0.0.0/8,127.0.0.2,2001:db8::/32","excludeIPRanges":"10.96.0.0/12,10.112.0.0/13","includeOutboundPorts":"80,443",
			"excludeOutboundPorts":"22,6000-6999","exemptUIDs":"1337","exemptGIDs":"1337","excludeInterfaces":"net1","dnsCapture":true,"dnsServers":"10.96.0.10"}`,
		"by-cgroup": `{"includeIPRanges":"10.0.0.0/8","exemption":"cgroup","exemptCgroups":"/kubepods/agent,/kubepods/old/agent","ownerGroupsInclude":"1000",
			"ownerGroupsExclude":"7","rerouteInterfaces":"vm0","includeInboundPorts":"*","excludeInboundPorts":"22","dnsCapture":true}`,
		"allow-by-mark": `{"nonTCP":"allow","failurePolicy":"bypass","exemption":"mark","exemptMark":"0x539"}`,
	} {
		t.Run(name, func(t *testing.T) {
			got := plan(t, text).String()
			file := filepath.Join("testdata", name+".nft")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || got != string(want) {
				t.Errorf("differs from %s (%v); look, then run with -update\n%s", file, err, got)
			}
		})
	}
}

func TestTheNumberOfRulesDoesNotDependOnTheRanges(t *testing.T) {
	few, many := plan(t, `{"includeIPRanges":"10.0.0.0/8"}`), plan(t, `{"includeIPRanges":"10.0.0.0/9,11.0.0.0/8,192.0.2.0/24,::1,2001:db8::/32","excludeIPRanges":"10.1.0.0/16","exemptUIDs":"1,2,3"}`)
	for i := range few.Chains {
		if len(few.Chains[i].Rules) != len(many.Chains[i].Rules) {
			t.Errorf("chain %s", few.Chains[i].Name)
		}
	}
}

func TestRulesStandInTheOrderOfPrecedence(t *testing.T) {
	p := plan(t, `{"dnsCapture":true}`)
	nat := chain(p, "output_nat")
	reasons := []rules.Reason{}
	for _, r := range slices.Concat(chain(p, "direct").Rules, chain(p, "excluded").Rules, nat.Rules[1:]) {
		reasons = append(reasons, r.Reason)
	}
	if !slices.IsSorted(reasons) {
		t.Errorf("%v", reasons)
	}
}

// The plan, walked rule by rule, gives Decide's verdicts: the same meaning written
// twice, cheap enough to try a hundred thousand times.
func TestAWalkThroughThePlanDecidesAsDecideDoes(t *testing.T) {
	r := rulestest.NewRandom(rulestest.Seed(t), 0)
	for range 2000 {
		c := r.Config()
		m := r.Mode(c, rulestest.ByCgroup)
		p, err := m.Plan(c)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			f := m.Seen(r.Flow())
			want, reason := rules.Decide(c, f)
			if got := rulestest.Walk(p, c, f); got != want {
				t.Fatalf("%s (%s), the plan says %s\nflow %+v\n%s", want, reason, got, f, p)
			}
		}
	}
}

func chain(p rules.Plan, name string) rules.Chain {
	i := slices.IndexFunc(p.Chains, func(c rules.Chain) bool { return c.Name == name })
	if i < 0 {
		return rules.Chain{}
	}
	return p.Chains[i]
}

func TestWarningsAndReasonsHaveWords(t *testing.T) {
	for _, line := range rules.Precedence() {
		if line.Name == "" || line.Matches == "" || strings.HasSuffix(line.Matches, ".") {
			t.Errorf("%+v", line)
		}
	}
}
