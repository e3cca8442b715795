package suite

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/cluster/daemon"
	"github.com/sluice-cni/sluice/e2e/cluster/images"
	"github.com/sluice-cni/sluice/e2e/cluster/programs"
	"github.com/sluice-cni/sluice/e2e/cluster/progress"
	"github.com/sluice-cni/sluice/e2e/tiers"
	"github.com/sluice-cni/sluice/internal/await"
)

// Run runs all scenarios, one after the other: those of e2e/tiers, and those that take
// kubectl.
func Run(t *testing.T, kubeconfig string) {
	t.Run("tiers", func(t *testing.T) { Tiers(t, kubeconfig) })
	for _, s := range []struct {
		name, namespace string
		run             func(*namespace)
	}{
		{"what is said, and a pod's own label", "say", say},
		{"observe, suggest, refuse", "observe", observe},
		{"the page", "page", page},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Cleanup(func() {
				progress.Step(t, "%s: %s", s.name, map[bool]string{true: "failed", false: "passed"}[t.Failed()])
			})
			s.run(in(t, kubeconfig, "sluice-suite-"+s.namespace))
		})
	}
}

// Tiers runs scenarios of e2e/tiers, those of these names or all.
func Tiers(t *testing.T, kubeconfig string, names ...string) {
	tiers.Run(t, func(t *testing.T) tiers.Tier {
		scenario := t.Name()[strings.LastIndex(t.Name(), "/")+1:]
		return tier{empty(t, kubeconfig, "sluice-suite-"+strings.ReplaceAll(scenario, "_", "-"))}
	}, names...)
	// Each was deleted while the next ran.
	n := &namespace{t: t, kubeconfig: kubeconfig, name: "default", home: t.TempDir()}
	n.kubectl("", "wait", "--for=delete", "namespace", "--selector="+ours, "--timeout="+patience.String())
}

// namespace is one of a cluster's, made for a scenario.
type namespace struct {
	t          *testing.T
	kubeconfig string
	name       string
	home       string
}

// status is what a request to a host that nobody registers is answered with: by itself
// where the pod is not governed, by the proxy where it is.
const status = `curl -s -m 10 -o /dev/null -w '%{http_code}' http://httpbin.org/headers`

// patience bounds every wait for what a cluster does by and by.
const patience = await.Patience

// ours is the label of the suite's namespaces.
const ours = "app.kubernetes.io/part-of=sluice-suite"

// in makes a namespace with the pod sleep in it, and deletes it at the test's end.
func in(t *testing.T, kubeconfig, name string) *namespace {
	t.Helper()
	n := empty(t, kubeconfig, name)
	n.kubectl(Sleep(appImage()), "apply", "-f", "-")
	n.kubectl("", "rollout", "status", "deployment/sleep", "--timeout="+patience.String())
	return n
}

// empty makes a namespace and deletes it at the test's end.
func empty(t *testing.T, kubeconfig, name string) *namespace {
	t.Helper()
	n := &namespace{t: t, kubeconfig: kubeconfig, name: name, home: t.TempDir()}
	n.kubectl("", "create", "namespace", name)
	n.kubectl("", "label", "namespace", name, ours)
	t.Cleanup(func() {
		if t.Failed() {
			pods, _ := n.try("", "describe", "pods")
			events, _ := n.try("", "get", "events", "--sort-by=.lastTimestamp")
			t.Logf("%s\n%s", pods, events)
		}
		if _, err := n.try("", "delete", "namespace", name, "--wait=false"); err != nil {
			t.Error(err)
		}
	})
	return n
}

// appImage is the image of the suite's pods.
func appImage() string { return cmp.Or(os.Getenv("SLUICE_TEST_APP_IMAGE"), images.App) }

// Sleep is the page's sample: a pod that one can exec into and curl from. The image must
// have the command sleep.
func Sleep(image string) string {
	return `apiVersion: apps/v1
kind: Deployment
metadata: {name: sleep}
spec:
  selector: {matchLabels: {app: sleep}}
  template:
    metadata: {labels: {app: sleep}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: sleep, image: ` + image + `, imagePullPolicy: IfNotPresent, command: [sleep, infinity]}
`
}

// try runs kubectl in the namespace.
func (n *namespace) try(stdin string, args ...string) (string, error) {
	program := "kubectl"
	if dir := programs.Kubernetes(); dir != "" {
		program = filepath.Join(dir, "kubectl")
	}
	cmd := exec.Command(program, append([]string{"--namespace=" + n.name}, args...)...)
	cmd.Env = daemon.Environment("HOME="+n.home, "KUBECONFIG="+n.kubeconfig)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if failed, ok := err.(*exec.ExitError); ok {
		err = fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, failed.Stderr)
	}
	return string(out), err
}

// kubectl is try for what must succeed.
func (n *namespace) kubectl(stdin string, args ...string) string {
	n.t.Helper()
	out, err := n.try(stdin, args...)
	if err != nil {
		n.t.Fatal(err)
	}
	n.show(stdin, args, out)
	return out
}

// show prints a command and what it said, for whoever looks on.
func (n *namespace) show(stdin string, args []string, out string) {
	var words []string
	for _, a := range args {
		if strings.ContainsAny(a, " '\"{}$&|;") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	command := "$ kubectl " + strings.Join(words, " ")
	if stdin != "" {
		command += " <<EOF\n" + strings.TrimSpace(stdin) + "\nEOF"
	}
	progress.Show(strings.TrimSpace(command + "\n" + strings.TrimSpace(out)))
}

// sourcePod is the pod that requests are made from, as the page finds it.
func (n *namespace) sourcePod() string {
	n.t.Helper()
	return n.kubectl("", "get", "pod", "-l", "app=sleep", "-o", "jsonpath={.items..metadata.name}")
}

// bash runs commands in the pod.
func (n *namespace) bash(pod, commands string) (string, error) {
	return n.try("", inPod(pod, commands)...)
}

func inPod(pod, commands string) []string {
	return []string{"exec", pod, "-c", "sleep", "--", "bash", "-c", commands}
}

// eventually waits until commands in the pod write what is wanted, somewhere.
func (n *namespace) eventually(pod, commands, want string) {
	n.t.Helper()
	await.Silence(n.t, func() string {
		out, err := n.bash(pod, commands)
		if err == nil && strings.Contains(out, want) {
			n.show("", inPod(pod, commands), out)
			return ""
		}
		return fmt.Sprintf("%s: not %q, but %q, %v", commands, want, out, err)
	})
}
