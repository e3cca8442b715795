package namespaces

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/kubeapi"
)

// Whose word about what is not registered holds for a namespace, as docs/selection.md has it.
func TestWhoSaysWhatIsNotRegisteredMayDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, annotation, policy, value, by, wrong string }{
		{"nobody", "", "", "", "", ""},
		{"the Namespace", "Observe", "", "Observe", "of", ""},
		{"the Namespace, over the nodes' policy", "Observe", "outboundPolicy: ALLOW_ANY", "Observe", "of", ""},
		{"the nodes' policy", "", "outboundPolicy: ALLOW_ANY", "ALLOW_ANY", "map", ""},
		{"the ConfigMap, of the namespace", "Observe", "namespaces: {shop: {outboundPolicy: REGISTRY_ONLY}}", "REGISTRY_ONLY", "map", ""},
		{"the ConfigMap, of another", "Observe", "namespaces: {other: {outboundPolicy: REGISTRY_ONLY}}", "Observe", "of", ""},
		{"enforced", "Observe", "{outboundPolicy: REGISTRY_ONLY, enforce: [outboundPolicy]}", "REGISTRY_ONLY", "map", ""},
		{"enforced with everything for the namespace", "Observe", "{outboundPolicy: REGISTRY_ONLY, namespaces: {shop: {enforce: ['*']}}}", "REGISTRY_ONLY", "map", ""},
		{"a word that nobody knows", "observe", "outboundPolicy: ALLOW_ANY", "ALLOW_ANY", "map", "annotation sluice.dev/outboundPolicy"},
		{"a ConfigMap that cannot be read", "Observe", "outboundPolicy: x", "Observe", "of", "outboundPolicy"},
	} {
		objects := map[string]*kubeapi.Object{"": nil}
		if c.annotation != "" {
			objects["of"] = &kubeapi.Object{Key: kubeapi.Key{Name: "shop"}, JSON: []byte(`{"metadata":{"annotations":{"sluice.dev/outboundPolicy":"` + c.annotation + `"}}}`)}
		}
		if c.policy != "" {
			objects["map"] = &kubeapi.Object{JSON: []byte(`{"data":{"policy.yaml":"` + c.policy + `"}}`)}
		}
		value, by, err := Outbound("shop", objects["of"], objects["map"])
		if value != c.value || by != objects[c.by] {
			t.Errorf("%s: %q by %v, want %q by %q", c.name, value, by, c.value, c.by)
		}
		if (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
