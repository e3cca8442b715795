package plugin_test

import (
	"slices"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
)

func planOf(t testing.TB, fields string) rules.Plan {
	t.Helper()
	c, _, err := rules.Parse([]byte("{" + fields + "}"))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := rules.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// isOneOf fails unless the namespace holds the whole of one of the plans; nil is
// no rules at all.
func isOneOf(t testing.TB, ns *lab.Namespace, plans ...*rules.Plan) {
	t.Helper()
	if len(tables(t, ns)) == 0 {
		if !slices.Contains(plans, nil) {
			t.Fatal("the rules are gone")
		}
		return
	}
	var err error
	for _, plan := range plans {
		if plan == nil {
			continue
		}
		if err = nft.Check(ns.FD(), *plan); err == nil {
			return
		}
	}
	t.Fatal("half a ruleset: ", err)
}

// The process is killed before each of its steps: reading, opening sockets, every
// message to the kernel, writing the result. What is left is all or nothing, and
// ADD after it is as if nothing had happened.
func TestKilledAtAnyStepTheNextAddConverges(t *testing.T) {
	t.Parallel()
	first := `"includeIPRanges":"10.0.0.0/8,2001:db8::/32","dnsCapture":true`
	second := `"includeIPRanges":"*","exemptUIDs":"1337","nonTCP":"allow"`
	one, two := planOf(t, first), planOf(t, second)
	for _, tc := range []struct {
		name, verb string
		before     *rules.Plan // in force
		may        []*rules.Plan
	}{
		{"ADD", "ADD", nil, []*rules.Plan{nil, &one}},
		{"ADD over another configuration", "ADD", &two, []*rules.Plan{&two, &one}},
		{"ADD again", "ADD", &one, []*rules.Plan{&one}},
		{"DEL", "DEL", &one, []*rules.Plan{nil, &one}},
		{"CHECK", "CHECK", &one, []*rules.Plan{&one}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ns := pod(t)
			run := func(verb string) {
				t.Helper()
				call{verb: verb, netns: ns.Path(), stdin: conf(first)}.run(t).succeeded(t)
			}
			steps := 0
			for {
				err := nft.Remove(ns.FD())
				if err == nil && tc.before != nil {
					err = nft.Apply(ns.FD(), *tc.before)
				}
				if err != nil {
					t.Fatal(err)
				}
				finished := call{verb: tc.verb, netns: ns.Path(), stdin: conf(first)}.killedBefore(t, steps)
				isOneOf(t, ns, tc.may...)
				run("ADD")
				run("CHECK")
				isOneOf(t, ns, &one)
				if finished {
					break
				}
				steps += stride(tc.verb)
			}
			if steps < 5 {
				t.Errorf("only %d steps: the supervisor misses some", steps)
			}
			t.Logf("ended after %d steps", steps)
		})
	}
}

// stride is how many of its steps a verb may take before it is killed once more. CHECK
// changes nothing: had it, that would be seen at a later step just as well.
func stride(verb string) int {
	if verb == "CHECK" {
		return 4
	}
	return 1
}
