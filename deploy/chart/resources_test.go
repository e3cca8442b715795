package chart_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A namespace's quota, or a policy of the cluster, may want every container to say what it
// takes: what is refused at `helm uninstall` only is refused too late.
func TestEachContainerSaysWhatItTakes(t *testing.T) {
	t.Parallel()
	text := render(t, `installer.resources={"requests":{"cpu":"5m"},"limits":{"memory":"77Mi"}}`)
	takes := map[string]string{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if v["image"] != nil {
				said, err := yaml.Marshal(v["resources"])
				if err != nil {
					t.Fatal(err)
				}
				takes[v["name"].(string)] += string(said)
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	for d := yaml.NewDecoder(strings.NewReader(text + "\n---\n" + uninstaller(t, text))); ; {
		var o any
		if d.Decode(&o) != nil {
			break
		}
		walk(o)
	}
	if names := slices.Sorted(maps.Keys(takes)); !slices.Equal(names, []string{"agent", "done", "holder", "installer", "status", "uninstall"}) {
		t.Fatalf("the containers are %q", names)
	}
	for name, said := range takes {
		limits := strings.Count(said, "77Mi")
		switch {
		case strings.Contains(said, "null") || !strings.Contains(said, "requests"):
			t.Errorf("container %s takes %q", name, said)
		case name == "agent" || name == "holder":
		case name == "uninstall" && limits != 2 || name != "uninstall" && limits != 1: // the Job's, and a node's
			t.Errorf("container %s has not what installer.resources says: %q", name, said)
		}
	}
}
