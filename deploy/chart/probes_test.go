package chart_test

import (
	"slices"
	"strings"
	"testing"
)

// No probe asks at a port: on the host's network others reach it, and of two agents that
// overlap at an upgrade the one before is who answers there.
func TestNoProbeIsAtAPort(t *testing.T) {
	t.Parallel()
	for _, values := range [][]string{nil, {`metrics.listen="loopback"`}} {
		text := render(t, values...)
		for _, word := range []string{"httpGet", "tcpSocket", "grpc:"} {
			if strings.Contains(text, word) {
				t.Errorf("%q: a probe is by %s", values, word)
			}
		}
		for _, word := range []string{"command: [/sluice, status, ready]", "command: [/sluice, status, alive]", "command: [/sluice, status, ready, --holder]"} {
			if !strings.Contains(text, word) {
				t.Errorf("%q: no probe has %s", values, word)
			}
		}
	}
}

// An agent that hangs does not hear that it is to end: with the pod's own time, which is for
// draining, its node would be without another one for that long.
func TestAnAgentThatHangsIsKilledSoon(t *testing.T) {
	t.Parallel()
	_, probe, _ := strings.Cut(render(t, "agent.drainSeconds=3600"), "livenessProbe:")
	probe, _, _ = strings.Cut(probe, "resources:")
	if !strings.Contains(probe, "status, alive]") || !strings.Contains(probe, "\n            terminationGracePeriodSeconds: 30\n") {
		t.Errorf("its probe leaves it the time for draining:\n%s", probe)
	}
}

// The installer's probe looks at what the installer does: with other flags it would ask for
// something else.
func TestTheInstallersProbeLooksAtWhatItDoes(t *testing.T) {
	t.Parallel()
	for _, values := range [][]string{nil, {"cni.copyBinary=false", `cni.mode="append"`, `runtime.socket="off"`}, {`platform="openshift"`}} {
		var does, asks []string
		for _, args := range arguments(t, render(t, values...)) {
			switch {
			case args[0] == "install" && args[1] == "--watch":
				does = args[2:]
			case args[0] == "install" && args[1] == "--check":
				asks = args[2:]
			}
		}
		if len(does) < 4 || !slices.Equal(does, asks) {
			t.Errorf("%q: it does %q, and is asked for %q", values, does, asks)
		}
	}
}

// Rights that nothing needs: more by a program that has its file's, and the API server's
// token beside the agent.
func TestOnlyTheAgentHasATokenAndNobodyGainsRights(t *testing.T) {
	t.Parallel()
	text := render(t)
	for _, document := range strings.Split(text, "\n---\n") {
		if !strings.Contains(document, "\nkind: DaemonSet\n") {
			continue
		}
		mounts := strings.Count(document, "mountPath: /var/run/secrets/kubernetes.io/serviceaccount")
		if !strings.Contains(document, "automountServiceAccountToken: false") || mounts > 1 || mounts == 1 && strings.Index(document, "- name: installer") < strings.Index(document, "mountPath: /var/run/secrets") {
			t.Errorf("a token is mounted where nobody needs it:\n%s", document)
		}
		for _, container := range strings.Split(document, "securityContext:")[1:] {
			capabilities, _, found := strings.Cut(container, "]\n")
			if !found || !strings.Contains(capabilities, "capabilities:") {
				continue // a pod's
			}
			added, _, _ := strings.Cut(container[strings.Index(container, "add: ["):], "]")
			if strings.Contains(added, "SYS_ADMIN") == strings.Contains(container, "allowPrivilegeEscalation: false") {
				t.Errorf("a container with %s] gains rights, or would not start:\n%s", added, container)
			}
		}
	}
}
