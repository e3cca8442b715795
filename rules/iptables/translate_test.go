package iptables

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// text is what one iptables-restore of a fresh namespace reads.
func text(t *testing.T, f family, settings ...string) string {
	t.Helper()
	want, err := translate(rulestest.Plan(t, settings...), f)
	if err != nil {
		t.Fatal(err)
	}
	return batch(state{}, want)
}

func TestTheFilterIsCommittedBeforeTheRedirectsAndTheRecordLast(t *testing.T) {
	p, err := rules.NewPlan(rules.Default())
	if err != nil {
		t.Fatal(err)
	}
	sets, err := rulesets(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sets {
		got := batch(state{}, s)
		filter, nat, record := strings.Index(got, "*filter"), strings.Index(got, "*nat"), strings.Index(got, "-A "+chainApplied)
		if filter < 0 || nat < filter || record < nat {
			t.Errorf("filter at %d, nat at %d, record at %d:\n%s", filter, nat, record, got)
		}
	}
}

func TestRangesAreMergedAndManyStandInAChainOfTheirOwn(t *testing.T) {
	got := text(t, ipv4, "includeIPRanges=10.0.0.0/9,10.128.0.0/9,10.1.0.0/16,192.0.2.0/24,198.51.100.0/24,203.0.113.0/24,240.0.0.0/8")
	if strings.Contains(got, "10.128.0.0") || !strings.Contains(got, "-d 10.0.0.0/8") {
		t.Errorf("not merged:\n%s", got)
	}
	if !strings.Contains(got, `-A SLUICE_OUTPUT_NAT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m comment --comment "included IPv4 range" -j SLUICE_OUTPUT_NAT_1`) ||
		!strings.Contains(got, `-A SLUICE_OUTPUT_NAT_1 -p tcp -d 240.0.0.0/8`) {
		t.Errorf("no chain for the ranges:\n%s", got)
	}
}

func TestPacketsThatAreNotDNSDoNotWalkTheExcludesInTheRawTable(t *testing.T) {
	got := text(t, ipv4, "dnsCapture=true", "excludeIPRanges=192.0.2.0/24")
	_, raw, _ := strings.Cut(got, "*raw")
	raw, _, _ = strings.Cut(raw, "COMMIT")
	leave, exclude := strings.Index(raw, `"any other port" -j RETURN`), strings.Index(raw, "192.0.2.0/24")
	if leave < 0 || exclude < leave {
		t.Errorf("leave at %d, excludes at %d:\n%s", leave, exclude, raw)
	}
}

func TestPortsFillMultiportTestsUpToTheirLimit(t *testing.T) {
	var ports rules.Ports
	for i := range 40 {
		p := rules.PortRange{First: uint16(100 + 10*i), Last: uint16(100 + 10*i + i%2)}
		ports = append(ports, p)
	}
	var all []string
	for _, chunk := range chunks(ports) {
		parts := strings.Split(chunk, ",")
		if used := len(parts) + strings.Count(chunk, ":"); used > maxPorts {
			t.Errorf("%d ports in %s", used, chunk)
		}
		all = append(all, parts...)
	}
	var want []string
	for _, p := range ports {
		want = append(want, portText(p))
	}
	if !slices.Equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
}

func TestAllOtherGroupsAreRangesThatHoldEachButTheNamed(t *testing.T) {
	for ids, want := range map[string]string{
		"":               "[0-4294967294]",
		"0":              "[1-4294967294]",
		"5,6,7,9":        "[0-4 8 10-4294967294]",
		"4294967294":     "[0-4294967293]",
		"0,1,4294967294": "[2-4294967293]",
	} {
		var c rules.Config
		if _, err := c.Set("ownerGroupsExclude", ids); err != nil {
			t.Fatal(err)
		}
		tr := translator{sets: map[string]rules.Set{"s": {Numbers: c.OwnerGroupsExclude}}}
		if got := fmt.Sprint(tr.numbers(rules.Match{Set: "s", Not: true})); got != want {
			t.Errorf("other than %q: %s, want %s", ids, got, want)
		}
	}
}

func TestASavedRuleIsSplitAsItWasWritten(t *testing.T) {
	const rule = `-A OUTPUT -o "eth 0" -m comment --comment "say \"x\" \\ now" -j SLUICE_X`
	want := []string{"-A", "OUTPUT", "-o", "eth 0", "-m", "comment", "--comment", `say "x" \ now`, "-j", "SLUICE_X"}
	if got := Words(rule); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := commentIn(rule); got != `say "x" \ now` {
		t.Errorf("comment %q", got)
	}
}
