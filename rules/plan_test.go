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
		p, err := rules.NewPlan(c)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			f := r.Flow()
			want, reason := rules.Decide(c, f)
			if got := walk(p, c, f); got != want {
				t.Fatalf("%s (%s), the plan says %s\nflow %+v\n%s", want, reason, got, f, p)
			}
		}
	}
}

// No rule is there for nothing: without any one of them some flow goes elsewhere.
// Those about packets that begin nothing are tried in rules/nft.
func TestWithoutAnyOneRuleSomeFlowGoesElsewhere(t *testing.T) {
	r := rulestest.NewRandom(rulestest.Seed(t), 0)
	missed := map[string]bool{}
	for _, c := range plan(t, `{"dnsCapture":true}`).Chains {
		for _, rule := range c.Rules {
			if c.Name != "output_zone" && rule.Name != "ongoing" && rule.Name != "TCP" && !strings.HasPrefix(rule.Name, "guard") && !strings.HasPrefix(rule.Name, "rest of") {
				missed[c.Name+"/"+rule.Name] = true
			}
		}
	}
	for range 3000 {
		c := r.Config()
		p, err := rules.NewPlan(c)
		if err != nil {
			t.Fatal(err)
		}
		flows := make([]rules.Flow, 40)
		for i := range flows {
			flows[i] = r.Flow()
		}
		for ci, ch := range p.Chains {
			for ri, rule := range ch.Rules {
				if name := ch.Name + "/" + rule.Name; missed[name] && differs(without(p, ci, ri), c, flows) {
					delete(missed, name)
				}
			}
		}
		if len(missed) == 0 {
			return
		}
	}
	t.Errorf("nobody misses %v", missed)
}

func differs(p rules.Plan, c rules.Config, flows []rules.Flow) bool {
	return slices.ContainsFunc(flows, func(f rules.Flow) bool {
		want, _ := rules.Decide(c, f)
		return walk(p, c, f) != want
	})
}

func without(p rules.Plan, chain, rule int) rules.Plan {
	p.Chains = slices.Clone(p.Chains)
	p.Chains[chain].Rules = slices.Delete(slices.Clone(p.Chains[chain].Rules), rule, rule+1)
	return p
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
