package remedy

import (
	"strings"
	"testing"
)

func TestEachPlaceHasItsWords(t *testing.T) {
	t.Parallel()
	env := map[string]string{"POD_NAMESPACE": "sluice-system", "POD_NAME": "sluice-agent-x7k2p"}
	pod := from(func(name string) string { return env[name] })
	node := from(func(name string) string { return map[string]string{"POD_NAME": "x"}[name] })
	if got := node.Sluice("status --all"); got != "'sluice status --all'" {
		t.Errorf("on a node: %s", got)
	}
	if got := pod.Sluice("status --all"); got != "'kubectl -n sluice-system exec sluice-agent-x7k2p -- /sluice status --all'" {
		t.Errorf("in a pod: %s", got)
	}
	env["POD_CONTAINER"] = "sluice-proxy"
	sidecar := from(func(name string) string { return env[name] })
	if got := sidecar.Sluice("clusters"); got != "'kubectl -n sluice-system exec sluice-agent-x7k2p -c sluice-proxy -- /sluice clusters'" {
		t.Errorf("in a sidecar: %s", got)
	}
	if got := sidecar.Files("/etc/sluice"); got != "the ConfigMap of namespace sluice-system that is mounted at /etc/sluice" || pod.Files("/etc/sluice") != "" || node.Files("/etc/sluice") != "" {
		t.Errorf("a sidecar's resources: %q", got)
	}
	for r := range remedies {
		byHand, inCluster := node.Say(r), pod.Say(r)
		if byHand == "" || inCluster == "" || byHand == inCluster {
			t.Errorf("remedy %d: %q, %q", r, byHand, inCluster)
		}
		if strings.Contains(inCluster, "NAMESPACE") || strings.Contains(inCluster, "'sluice ") {
			t.Errorf("remedy %d is for nobody in a cluster: %s", r, inCluster)
		}
	}
}
