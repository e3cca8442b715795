package cluster_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/suite"
	"github.com/sluice-cni/sluice/e2e/cluster/world"
	"github.com/sluice-cni/sluice/e2e/node/programs"
	"github.com/sluice-cni/sluice/e2e/tiers"
	"github.com/sluice-cni/sluice/internal/egresspage"
)

// In a cluster without sluice a pod's sidecar serves what a ConfigMap registers and refuses
// all else, from the pod's first packet, and keeps no Job from ending.
func TestASidecarGovernsItsPodWhereNoAgentIs(t *testing.T) {
	w := world.New(t, world.Options{})
	tiers.Act(w.Internet)
	apply := func(manifest string) {
		t.Helper()
		if _, err := w.KubectlIn(manifest, "apply", "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
	inject := func(manifest string) string {
		t.Helper()
		cmd := exec.Command(programs.Sluice(), "inject", "-f", "-", "--sidecar", "--image", world.Sluice, "--configMap", "egress")
		cmd.Stdin = strings.NewReader(manifest)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: egress}\ndata:\n  httpbin.yaml: |\n" + indented(egresspage.HTTPBin))
	apply(inject(suite.Sleep(world.App)))
	apply(inject(once))
	w.Rollout("default", "deployment/sleep")
	for script, want := range map[string]string{
		"curl -s -m 10 http://httpbin.org/headers":                                        `"Host"`,
		"curl -s -m 10 -o /dev/null -w '%{http_code}' http://www.google.com/":             "502",
		"curl -s -m 10 -o /dev/null -w '%{http_code}' https://www.google.com/ || echo no": "no",
	} {
		if got, err := w.Exec("default", "deployment/sleep", script); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %q, %v; want %s", script, got, err, want)
		}
	}
	if routes := w.Must("exec", "deployment/sleep", "-c", "sluice-proxy", "--", "/sluice", "routes"); !strings.Contains(routes, "httpbin.org") {
		t.Errorf("asked, the sidecar shows the routes\n%s", routes)
	}
	w.Must("wait", "--for=condition=complete", "job/once", "--timeout=1m")
	if got := w.Must("logs", "job/once", "-c", "first"); got != "502" {
		t.Errorf("the Job's first request was answered with %q, not 502", got)
	}
	if log := w.Must("logs", "job/once", "-c", "sluice-proxy"); !strings.Contains(log, `"www.google.com"`) {
		t.Errorf("the sidecar's access log does not have it:\n%s", log)
	}
}

// once is governed from its init container on, and ends.
const once = `apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      initContainers:
      - {name: first, image: ` + world.App + `, imagePullPolicy: Never, command: [curl, -s, -m, "10", -o, /dev/null, -w, "%{http_code}", "http://www.google.com/"]}
      containers:
      - {name: then, image: ` + world.App + `, imagePullPolicy: Never, command: [id]}
`

func indented(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString("    " + line)
	}
	return out.String()
}
