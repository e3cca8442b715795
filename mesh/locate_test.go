package mesh

import (
	"strings"
	"testing"
)

// What a file says of an object is the same to who applies it and to who deletes it, and
// what kubectl reads otherwise is said.
func TestAnObjectIsNamedByAliasesAndMergeKeysToo(t *testing.T) {
	t.Parallel()
	const spec = "{hosts: [a.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS}"
	for rest, want := range map[string]struct{ name, says string }{
		"metadata: {name: &n a, namespace: *n}\nspec: " + spec:                            {"ServiceEntry a/a", ""},
		"metadata: {<<: {namespace: shop}, name: a}\nspec: " + spec:                       {"ServiceEntry shop/a", ""},
		"metadata: {labels: &l {<<: {namespace: shop}}, <<: *l, name: a}\nspec: " + spec:  {"ServiceEntry shop/a", ""},
		"metadata: {name: a, <<: [{namespace: shop}, {namespace: other}]}\nspec: " + spec: {"ServiceEntry shop/a", ""},
		"metadata: {name: a}\n<<: {spec: " + spec + "}":                                   {"ServiceEntry default/a", ""},
		"metadata: {name: a, namespace: shop, <<: {namespace: other}}\nspec: " + spec:     {"ServiceEntry shop/a", "metadata.namespace: stands before a YAML merge key (<<) that brings it too"},
		"metadata: {<<: {namespace: other}, name: a, namespace: shop}\nspec: " + spec:     {"ServiceEntry shop/a", ""},
		"metadata: {name: a, labels: {a: b, <<: {a: c}}}\nspec: " + spec:                  {"ServiceEntry default/a", "metadata.labels.a: stands before"},
		"metadata: {name: a, \"<<\": {namespace: other}}\nspec: " + spec:                  {"ServiceEntry default/a", "metadata.<<: unknown field"},
		"metadata: {name: a}\nspec: {hosts: [a.com], resolution: NONE, <<: " + spec + "}": {"ServiceEntry default/a", "spec.resolution: stands before"},
	} {
		text := []byte("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n" + rest + "\n")
		located := Locate("f", text, DecodeOptions{})
		if len(located) != 1 || located[0].Identity.String() != want.name {
			t.Errorf("%s\nis %v, want %s", rest, located, want.name)
		}
		resources, issues := Decode("f", text, DecodeOptions{})
		if said := issues.String(); !strings.Contains(said, want.says) || (len(issues) > 0) != (want.says != "") {
			t.Errorf("%s\nsays %s, want %s", rest, said, want.says)
		}
		if !issues.HasErrors() && (len(resources) != 1 || resources[0].Identity().String() != want.name) {
			t.Errorf("%s\nis read as %v, want %s", rest, resources, want.name)
		}
	}
}
