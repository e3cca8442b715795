// Package chart_test holds the Helm chart to its values, to what was rendered before, and
// to a real API server.
package chart_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/programs"
)

// kube is the Kubernetes that renders are for, unless a test says another.
const kube = "1.34.0"

var helm = sync.OnceValues(func() (string, error) {
	if err := programs.Build(programs.HelmTool); err != nil {
		return "", err
	}
	return programs.Helm(), nil
})

// run runs helm with folders of its own, so that no setting of this machine's user counts.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	program, err := helm()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"HOME=" + home, "HELM_CACHE_HOME=" + home, "HELM_CONFIG_HOME=" + home, "HELM_DATA_HOME=" + home, "PATH=" + os.Getenv("PATH")}
	var out, failed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failed
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, failed.String())
	}
	return out.String(), nil
}

// rendered keeps what render made, by its values.
var rendered sync.Map

// render is the chart with some values, each as --set-json has it: agent.drainSeconds=60.
func render(t *testing.T, values ...string) string {
	t.Helper()
	once, _ := rendered.LoadOrStore(strings.Join(values, "\n"), sync.OnceValues(func() (string, error) { return tryRender(t, values...) }))
	out, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryRender(t *testing.T, values ...string) (string, error) {
	t.Helper()
	return renderFor(t, kube, values...)
}

// renderFor is for another Kubernetes.
func renderFor(t *testing.T, version string, values ...string) (string, error) {
	t.Helper()
	args := []string{"template", "sluice", "sluice", "--namespace", "sluice-system", "--kube-version", version}
	for _, v := range values {
		args = append(args, "--set-json", v)
	}
	return run(t, args...)
}

// An upgrade of helm that warns of anything is looked at.
func TestTheChartIsCleanByHelmsOwnLint(t *testing.T) {
	t.Parallel()
	out, err := run(t, "lint", "--strict", "--kube-version", kube, "sluice")
	if err != nil || !strings.Contains(out, "0 chart(s) failed") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A release may have a name that YAML reads as something else than text.
func TestAReleaseMayHaveANameThatIsAWordOfYAML(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"y": `"y"`, "on": `"on"`, "123": `"123"`, "sluice": "sluice"} {
		out, err := run(t, "template", name, "sluice", "--kube-version", kube)
		if label := "app.kubernetes.io/instance: "; err != nil || strings.Count(out, label) == 0 || strings.Count(out, label) != strings.Count(out, label+text+"\n") {
			t.Errorf("%s: not every label has it as text: %v", name, err)
		}
	}
}

// So may the namespace that it is in.
func TestANamespaceMayHaveANameThatIsAWordOfYAML(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"on", "123"} {
		out, err := run(t, "template", "sluice", "sluice", "--namespace", name, "--kube-version", kube, "--set-json", `platform="gke"`, "--set-json", "metrics.podMonitor.enabled=true",
			"--set-json", "metrics.dashboard.enabled=true", "--set-json", "readinessTaint=true", "--set-json", `credentials.namespaces=["shop"]`)
		if err != nil {
			t.Fatal(err)
		}
		word := regexp.MustCompile(`(?m)(namespace: |resourceNames: \[|exemptNamespaces: \[)["']?` + name + `["']?\b`)
		texts := regexp.MustCompile(`(?m)(namespace: |resourceNames: \[|exemptNamespaces: \[)"` + name + `"`)
		if all, as := len(word.FindAllString(out, -1)), len(texts.FindAllString(out, -1)); all < 20 || all != as {
			t.Errorf("%s: of %d places %d have it as text", name, all, as)
		}
	}
}
