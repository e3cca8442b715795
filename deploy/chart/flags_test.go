package chart_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/cmd/sluice/sluicetest"
)

// Whatever the values, containers are started with commands and flags that there are.
func TestContainersAreGivenFlagsThatThereAre(t *testing.T) {
	t.Parallel()
	program, err := sluicetest.Build()
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, values := range [][]string{nil, {"cni.copyBinary=false", "readinessTaint=true", `metrics.listen="loopback"`, "agent.accessLog=false"}} {
		text := render(t, values...)
		for _, args := range append(arguments(t, text), arguments(t, uninstaller(t, text))...) {
			tried++
			// A flag that there is not is an error before help is given.
			if out, err := exec.Command(program, append(slices.Clone(args), "--help")...).CombinedOutput(); err != nil {
				t.Errorf("sluice %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
	}
	if tried < 10 {
		t.Errorf("only %d containers were found", tried)
	}
}

// arguments are those of every container in a text, and of its probes.
func arguments(t *testing.T, text string) (all [][]string) {
	t.Helper()
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if args, is := v["args"].([]any); is && v["image"] != nil {
				var texts []string
				for _, a := range args {
					texts = append(texts, a.(string))
				}
				all = append(all, texts)
			}
			// A probe's; nothing in the pods is asked at a port that others reach.
			if exec, is := v["exec"].(map[string]any); is {
				var texts []string
				for _, a := range exec["command"].([]any) {
					texts = append(texts, a.(string))
				}
				if texts[0] != "/sluice" {
					t.Errorf("command %q: is not in the image", texts)
				}
				all = append(all, texts[1:])
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o any
		if d.Decode(&o) != nil {
			return all
		}
		walk(o)
	}
}
