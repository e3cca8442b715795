package chart_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// OpenShift's word covers what every pod on a node asks for, and each of them is an
// account's that it is about.
func TestOpenShiftLetsEveryPodIn(t *testing.T) {
	t.Parallel()
	text := render(t, `platform="openshift"`, "iptables=true")
	allowed := regexp.MustCompile(`allowedCapabilities: \[(.*)\]`).FindStringSubmatch(text)
	if allowed == nil {
		t.Fatal("no capability is allowed")
	}
	asked := regexp.MustCompile(`add: \[(.*)\]`).FindAllStringSubmatch(text, -1)
	for _, list := range asked {
		for capability := range strings.SplitSeq(list[1], ", ") {
			if capability != "" && !slices.Contains(strings.Split(allowed[1], ", "), capability) {
				t.Errorf("%s is asked for, and not allowed", capability)
			}
		}
	}
	hosts, accounts := strings.Count(text, "hostPID: true"), 0
	for _, account := range regexp.MustCompile(`serviceAccountName: (\S+)`).FindAllStringSubmatch(text, -1) {
		if strings.Contains(text, "system:serviceaccount:sluice-system:"+account[1]+"\n") {
			accounts++
		} else {
			t.Errorf("the pod of account %s may not run as the user that it names", account[1])
		}
	}
	if hosts < 3 || accounts < hosts || len(asked) < 5 {
		t.Errorf("%d pods see the node's processes, %d pods are of accounts that may; %d containers ask for capabilities", hosts, accounts, len(asked))
	}
}
