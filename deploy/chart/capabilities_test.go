package chart_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/granted"
)

// Each capability that a container has, with any value, is shown to be needed by a scenario
// or has its reason in one place, and no other is there.
func TestEachCapabilityIsProvenOrHasItsReason(t *testing.T) {
	t.Parallel()
	has := map[string][]string{}
	name := ""
	for _, found := range regexp.MustCompile(`- name: (\S+)\n +image:|add: \[(.*)\]`).FindAllStringSubmatch(render(t, "iptables=true"), -1) {
		if found[1] != "" {
			name = found[1]
		} else if found[2] != "" {
			has[name] = append(has[name], strings.Split(found[2], ", ")...)
		}
	}
	said := map[string][]string{}
	for container, proven := range granted.Proven {
		said[container] = append(said[container], proven...)
	}
	for container, others := range granted.Unproven {
		for capability, why := range others {
			if why == "" {
				t.Errorf("%s has %s for no reason", container, capability)
			}
			said[container] = append(said[container], capability)
		}
	}
	for _, all := range []map[string][]string{has, said} {
		for _, list := range all {
			slices.Sort(list)
		}
	}
	if !maps.EqualFunc(has, said, slices.Equal) {
		t.Errorf("the chart gives %v,\nproven or with a reason are %v", has, said)
	}
}
