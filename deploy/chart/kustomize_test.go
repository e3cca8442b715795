package chart_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/e2e/cluster/programs"
)

var update = flag.Bool("update", false, "write the golden files anew")

const kustomizeDir = "../kustomize/"

// The base is the chart's default render without what is helm's: there is one truth.
func TestTheBaseIsTheChartsRender(t *testing.T) {
	t.Parallel()
	golden(t, kustomizeDir+"base/sluice.yaml", plain(withoutHooks(render(t)))+"\n")
	golden(t, kustomizeDir+"uninstall/daemonset.yaml", plain(uninstaller(t, render(t)))+"\n")
}

// Each preset does what the chart does with the platform of the same name.
func TestPresetsAreThoseOfTheChart(t *testing.T) {
	t.Parallel()
	for _, platform := range []string{"kind", "k3s", "rke2", "gke", "eks", "aks", "openshift"} {
		t.Run(platform, func(t *testing.T) {
			t.Parallel()
			text := render(t, fmt.Sprintf("platform=%q", platform))
			same(t, objects(t, plain(withoutHooks(text))), objects(t, kustomize(t, "presets/"+platform)))
			dir := "presets/" + platform + "/uninstall"
			if _, err := os.Stat(kustomizeDir + dir); err != nil {
				dir = "uninstall" // nothing is elsewhere there
			}
			same(t, objects(t, plain(uninstaller(t, text))), objects(t, kustomize(t, dir)))
		})
	}
}

// kustomizeProgram is built once.
var kustomizeProgram = sync.OnceValues(func() (string, error) {
	if err := programs.Build(programs.KustomizeTool); err != nil {
		return "", err
	}
	return programs.Kustomize(), nil
})

func kustomize(t *testing.T, dir string) string {
	t.Helper()
	program, err := kustomizeProgram()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "build", kustomizeDir+dir).Output()
	if err != nil {
		var failed *exec.ExitError
		if e, is := err.(*exec.ExitError); is {
			failed = e
		}
		t.Fatalf("kustomize build %s: %v\n%s", dir, err, failed.Stderr)
	}
	return string(out)
}

// golden compares with a file, which -update writes.
func golden(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Errorf("%s is not what the chart renders; see `go test ./deploy/chart -update` and git diff", path)
	}
}

// of are the lines that only say which release of helm's an object belongs to.
var of = regexp.MustCompile(`(?m)^ *(app\.kubernetes\.io/(managed-by|instance|version)|helm\.sh/chart): .*\n|^# Source: .*\n`)

func plain(text string) string {
	return "# Rendered from deploy/chart by `go test ./deploy/chart -update`: change it there.\n" + strings.TrimSpace(of.ReplaceAllString(text, ""))
}

// withoutHooks leaves out what helm alone runs.
func withoutHooks(text string) string {
	var kept []string
	for _, document := range strings.Split(text, "\n---\n") {
		if !strings.Contains(document, "helm.sh/hook:") {
			kept = append(kept, document)
		}
	}
	return strings.Join(kept, "\n---\n")
}

// uninstaller is the DaemonSet that the hook's ConfigMap holds.
func uninstaller(t *testing.T, text string) string {
	t.Helper()
	for _, document := range strings.Split(text, "\n---\n") {
		if _, after, found := strings.Cut(document, "  daemonset.yaml: |\n"); found {
			return regexp.MustCompile(`(?m)^    `).ReplaceAllString(after, "")
		}
	}
	t.Fatal("no hook has the DaemonSet")
	return ""
}

// objects are the objects of a text, by kind and name, each as YAML with sorted keys.
func objects(t *testing.T, text string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o map[string]any
		if err := d.Decode(&o); err != nil {
			return out
		}
		if o == nil {
			continue
		}
		metadata, _ := o["metadata"].(map[string]any)
		sortVolumes(o)
		var b bytes.Buffer
		e := yaml.NewEncoder(&b)
		if err := e.Encode(o); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint(o["kind"], " ", metadata["namespace"], "/", metadata["name"])
		if name == "Namespace <nil>/sluice-system" {
			continue // helm makes it by --create-namespace
		}
		out[name] = b.String()
	}
}

// sortVolumes puts a workload's volumes in the order of their names: a patch of one puts
// it first.
func sortVolumes(o map[string]any) {
	spec, _ := o["spec"].(map[string]any)
	template, _ := spec["template"].(map[string]any)
	pod, _ := template["spec"].(map[string]any)
	volumes, _ := pod["volumes"].([]any)
	slices.SortFunc(volumes, func(a, b any) int {
		return strings.Compare(fmt.Sprint(a.(map[string]any)["name"]), fmt.Sprint(b.(map[string]any)["name"]))
	})
}

// same says which objects differ, and where.
func same(t *testing.T, want, got map[string]string) {
	t.Helper()
	for name, text := range want {
		if got[name] == "" {
			t.Errorf("kustomize has no %s", name)
		} else if got[name] != text {
			t.Errorf("%s differs: %s", name, firstDifference(text, got[name]))
		}
	}
	for name := range got {
		if want[name] == "" {
			t.Errorf("the chart has no %s", name)
		}
	}
}

func firstDifference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range as {
		if i >= len(bs) || as[i] != bs[i] {
			other := ""
			if i < len(bs) {
				other = bs[i]
			}
			return fmt.Sprintf("line %d: the chart has %q, kustomize %q", i+1, as[i], other)
		}
	}
	return "kustomize has more lines"
}
