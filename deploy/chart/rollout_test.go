package chart_test

import (
	"strings"
	"testing"
)

// A value that concerns the agent alone leaves the holder's pods as they are: their
// template decides whether a DaemonSet replaces them.
func TestWhatConcernsTheAgentLeavesTheHolderAlone(t *testing.T) {
	t.Parallel()
	before := holder(t, render(t))
	for path, e := range effects {
		section, _, _ := strings.Cut(path, ".")
		switch section {
		case "platform", "image", "imagePullSecrets", "nodes", "priorityClassName", "security", "holder":
			continue // of both, or of the holder
		}
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			if after := holder(t, render(t, with(path, e.other)...)); after != before {
				t.Errorf("%s=%s changes the holder's pods", path, e.other)
			}
		})
	}
	pinned := `holder.image.tag="1.0"`
	if holder(t, render(t, pinned)) != holder(t, render(t, pinned, `image.tag="2.0"`)) {
		t.Error("another tag of the agent changes the holder's pods though they have one of their own")
	}
}

// A new holder waits for none of the agents, nor they for it: both are replaced on as many nodes.
func TestBothAreReplacedOnAsManyNodesAtOnce(t *testing.T) {
	t.Parallel()
	if n := strings.Count(render(t, `rollout.maxSurge="10%"`), "maxSurge: 10%,"); n != 2 {
		t.Errorf("%d DaemonSets surge by it", n)
	}
}

// An upgrade to another version of the chart changes no pod by the chart's version alone.
func TestTheVersionIsInNoPod(t *testing.T) {
	t.Parallel()
	for _, document := range strings.Split(render(t), "\n---\n") {
		_, template, found := strings.Cut(document, "\n  template:")
		if found && !strings.Contains(document, "kind: ConfigMap\n") && (strings.Contains(template, "helm.sh/chart") || strings.Contains(template, "app.kubernetes.io/version")) {
			t.Errorf("a version is in the pods of\n%s", document)
		}
	}
}

// holder is the template of the holder's pods.
func holder(t *testing.T, text string) string {
	t.Helper()
	_, document, found := strings.Cut(text, "# Source: sluice/templates/holder.yaml")
	if !found {
		t.Fatal("there is no holder")
	}
	document, _, _ = strings.Cut(document, "\n---\n")
	_, template, _ := strings.Cut(document, "\n  template:")
	return template
}
