package selection_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/selection"
)

// What has no effect, or an unwanted one, where an agent serves is refused there and
// nowhere else.
func TestWhatAnAgentCannotServeIsRefusedWhereOneDoes(t *testing.T) {
	t.Parallel()
	const own = "known by its cgroup or a mark"
	for _, tc := range []struct{ fields, annotation, value, says string }{
		{`"exemption":"mark","exemptMark":"0x539"`, "", "", `exemption "mark"`},
		{`"exemption":"cgroup","exemptCgroups":"/a"`, "", "", `exemptCgroups "/a"`},
		{`"exemptUIDs":"0"`, "", "", own},
		{`"exemptGIDs":"0"`, "", "", own},
		{`"exemption":"mark","exemptMark":"0x1"`, "", "", `exemptMark "0x1"`},
		{`"includeInboundPorts":"*"`, "", "", "takes nothing that arrives"},
		{"", "traffic.sidecar.istio.io/includeInboundPorts", "*", "annotation traffic.sidecar.istio.io/includeInboundPorts: includeInboundPorts"},
		{"", "sluice.dev/exemptUIDs", "0", "annotation sluice.dev/exemptUIDs: exemptUIDs"},
		{`"failurePolicy":"bypass","backend":"iptables-nft"`, "", "", "needs nf_tables"},
		{`"failurePolicy":"bypass","backend":"iptables-legacy"`, "", "", "needs nf_tables"},
		{`"failurePolicy":"bypass","backend":"nft"`, "", "", ""},
		{`"failurePolicy":"block","backend":"iptables-nft"`, "", "", ""},
	} {
		pod := selection.Pod{Namespace: "shop"}
		if tc.annotation != "" {
			pod.Annotations = map[string]string{tc.annotation: tc.value}
		}
		for _, conf := range []string{node, `"name":"x"`} {
			all := conf
			if tc.fields != "" {
				all += "," + tc.fields
			}
			_, err := selection.Decide(confOf(t, all), nil, pod, noRanges)
			refused := tc.says != "" && conf == node
			if (err != nil) != refused || refused && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("{%s} and %s: %v", all, tc.annotation, err)
			}
		}
	}
}

func TestADecisionSaysWhetherItsRangesWereFound(t *testing.T) {
	t.Parallel()
	found := func() (cidr.List, error) { return cidr.Of(netip.MustParsePrefix("10.0.0.0/8")), nil }
	for text, auto := range map[string]bool{`"includeIPRanges":"auto"`: true, `"includeIPRanges":"10.0.0.0/8"`: false} {
		if d, err := selection.Decide(confOf(t, text), nil, selection.Pod{}, found); err != nil || d.Auto != auto {
			t.Errorf("{%s}: auto %v, %v", text, d.Auto, err)
		}
	}
}

// A malformed annotation that is left out leaves what else is said of the pod.
func TestWhyARunningPodIsSelectedIsSaidBesideWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	pod := selection.Pod{Namespace: "shop", Annotations: map[string]string{"sluice.dev/nonTCP": "maybe"}}
	d, err := selection.DecideRunning(confOf(t, ""), policyOf(t, `{"enforce":["inject"]}`), pod, noRanges)
	if err != nil || d.Why != "the policy enforces it" {
		t.Errorf("why %q, %v", d.Why, err)
	}
}

// Only who would be left out is told that its word is ignored.
func TestAPodThatAgreesWithWhatIsEnforcedIsToldNothing(t *testing.T) {
	t.Parallel()
	pod := selection.Pod{Namespace: "shop", Annotations: map[string]string{"sluice.dev/inject": "true"}}
	if d, err := selection.Decide(confOf(t, ""), policyOf(t, `{"enforce":["inject"]}`), pod, noRanges); err != nil || len(d.Warnings) > 0 {
		t.Errorf("%v, %v", d.Warnings, err)
	}
}

// onInvalid is for the annotations' faults: beside one of the entry's own nobody passes.
func TestNobodyPassesForTheEntrysFault(t *testing.T) {
	t.Parallel()
	pod := selection.Pod{Namespace: "shop", Annotations: map[string]string{"sluice.dev/nonsense": ""}}
	d, err := selection.Decide(confOf(t, `"nonTCP":"nope"`), policyOf(t, `{"onInvalid":"pass"}`), pod, noRanges)
	if !d.Selected || err == nil || errors.Is(err, selection.ErrNone) {
		t.Errorf("%+v, %v", d, err)
	}
}

// What one layer enforces a later one that enforces it too does not make its own.
func TestTheFirstWhoEnforcesIsNamed(t *testing.T) {
	t.Parallel()
	enforced := selection.Enforced(confOf(t, `"enforce":"nonTCP"`), policyOf(t, `{"enforce":["*"]}`), "shop")
	if enforced["nonTCP"] != "the configuration" || enforced["dnsPort"] != "the policy" {
		t.Errorf("nonTCP by %q, dnsPort by %q", enforced["nonTCP"], enforced["dnsPort"])
	}
}
