package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/node/containerd"
	"github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/e2e/node/stage"
	"github.com/sluice-cni/sluice/selection"
	"github.com/sluice-cni/sluice/selection/policydir"
)

const nodePolicy = `
exemptNamespaces: [kube-system]
namespaces:
  loose: {onInvalid: pass}
  hard: {onInvalid: pass, enforce: [inject]}
  off: {select: false}
`

// What a runtime hands over of a pod decides about that pod and no other: with the
// node's holder and no agent, which ADD does not need.
func TestEachPodsAnnotationsAreItsOwn(t *testing.T) {
	withRuntimes(t, func(t *testing.T, r programs.Runtime) {
		n := stage.New(t, stage.Options{})
		n.StartHolder()
		policy, err := policydir.Parse("policy.yaml", []byte(nodePolicy))
		must(t, err)
		must(t, policy.WriteFile(filepath.Join(n.StateDir, "policy.json")))
		c := runtimeOf(t, n, r)
		malformed := map[string]string{"sluice.dev/nonTCP": "perhaps", "sluice.dev/nonsense": "1"}
		out := map[string]string{selection.AnnotationInject: "false"}

		for _, tc := range []struct {
			namespace   string
			annotations map[string]string
			held        bool
			fails       []string
		}{
			{"shop", nil, true, nil},
			{"shop", malformed, false, []string{`annotation sluice.dev/nonTCP: nonTCP "perhaps"`, "annotation sluice.dev/nonsense: unknown"}},
			{"shop", out, false, nil},
			{"loose", malformed, false, nil},
			{"hard", malformed, false, []string{`nonTCP "perhaps"`}},
			{"hard", out, true, nil},
			{"off", nil, false, nil},
			{"kube-system", malformed, false, nil},
			{"shop", map[string]string{"sluice.dev/nonTCP": "allow"}, true, nil}, // after all of that
		} {
			p, err := c.TryPod(containerd.PodSpec{Namespace: tc.namespace, Name: "a", Annotations: tc.annotations, Servers: []string{"192.0.2.53"}, Searches: []string{"shop.svc.cluster.local"}})
			s, statusErr := n.HolderStatus()
			must(t, statusErr)
			if held := len(s.Pods) == 1; held != tc.held {
				t.Errorf("%s %v: held %v", tc.namespace, tc.annotations, held)
			}
			if (err != nil) != (tc.fails != nil) {
				t.Fatalf("%s %v: %v", tc.namespace, tc.annotations, err)
			}
			for _, want := range tc.fails {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s %v: %v; want %s", tc.namespace, tc.annotations, err, want)
				}
			}
			if tc.held {
				document := heldDocument(t, n)
				for _, want := range []string{`"servers":["192.0.2.53"]`, `"searches":["shop.svc.cluster.local"]`} {
					if !strings.Contains(document, want) {
						t.Errorf("the agent is not told %s: %s", want, document)
					}
				}
			}
			if err == nil {
				must(t, p.Remove())
			}
			if s, err := n.HolderStatus(); err != nil || len(s.Pods) != 0 {
				t.Errorf("%s %v: left %+v, %v", tc.namespace, tc.annotations, s.Pods, err)
			}
			if left := namespaces(t); len(left) != 0 {
				t.Errorf("%s %v: namespaces left: %v", tc.namespace, tc.annotations, left)
			}
		}
	})
}

// heldDocument is what the holder keeps of the only pod.
func heldDocument(t *testing.T, n *stage.Node) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(n.RunDir, "pods", "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	must(t, err)
	return string(data)
}
