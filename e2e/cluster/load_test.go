package cluster_test

import (
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/cluster/world"
	"github.com/sluice-cni/sluice/e2e/tiers"
)

var full = flag.Bool("full", false, "run the load and fault tests at their full size")

// callers are pods that ask again and again and log each status, ask for what nobody
// registers in between, and beside that read one long answer.
const callers = `apiVersion: apps/v1
kind: Deployment
metadata: {name: callers, namespace: load}
spec:
  replicas: %d
  selector: {matchLabels: {app: callers}}
  template:
    metadata: {labels: {app: callers}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: calls
        image: ` + world.App + `
        imagePullPolicy: Never
        command: [bash, -c, "while :; do d=$(date +%%T); echo $d $(curl -sS -m 40 -o /dev/null -w '%%{http_code}' http://httpbin.org/headers 2>&1); curl -s -m 40 -o /dev/null http://forbidden.example/; sleep %s; done"]
      - name: stream
        image: ` + world.App + `
        imagePullPolicy: Never
        command: [bash, -c, "echo $(curl -sSN -o /dev/null -w '%%{http_code} %%{size_download}' http://stream.example/ 2>&1); sleep infinity"]
`

const allowed = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: called, namespace: load}
spec:
  hosts: [httpbin.org, stream.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
`

// load is pods that call, and what they were answered.
type load struct {
	*world.World
	t       *testing.T
	pods    int
	release chan struct{} // closed: streams end
	passed  int           // connections to what nobody registers, before pods were governed
}

func newLoad(t *testing.T) *load {
	pods, pause := 4, "0.5"
	if *full {
		pods, pause = 30, "0.2"
	}
	l := &load{World: world.New(t, world.Options{}), t: t, pods: pods, release: make(chan struct{})}
	tiers.Act(l.Internet)
	l.Internet.Web("forbidden.example", 80, nil)
	l.Internet.Web("stream.example", 80, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			fmt.Fprint(w, ".")
			w.(http.Flusher).Flush()
			select {
			case <-l.release:
				fmt.Fprint(w, "the end")
				return
			case <-r.Context().Done():
				return
			case <-tick.C:
			}
		}
	}))
	l.Must("create", "namespace", "load")
	if _, err := l.KubectlIn(fmt.Sprintf(callers, pods, pause), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	l.Rollout("load", "deployment/callers")
	return l
}

// logs of one container of all pods. A kubelet that was just started cannot show them yet.
func (l *load) logs(container string) []string {
	l.t.Helper()
	out := ""
	l.Eventually("the pods' logs can be read", func() (err error) {
		out, err = l.Kubectl("-n", "load", "logs", "-l", "app=callers", "-c", container, "--tail=-1", "--max-log-requests=50")
		return err
	})
	return strings.Split(strings.TrimSpace(out), "\n")
}

// more waits until every pod has made some more calls.
func (l *load) more() {
	l.t.Helper()
	enough := len(l.logs("calls")) + 4*l.pods
	l.Eventually("the pods go on calling", func() error {
		if n := len(l.logs("calls")); n < enough {
			return fmt.Errorf("%d of %d calls", n, enough)
		}
		return nil
	})
}

// allSucceeded fails the test for each call that was not answered with 200.
func (l *load) allSucceeded(when string) {
	l.t.Helper()
	lines := l.logs("calls")
	failed := 0
	for _, line := range lines {
		if !strings.HasSuffix(line, " 200") {
			if failed++; failed < 10 {
				l.t.Errorf("%s: a call failed: %s", when, line)
			}
		}
	}
	l.t.Logf("%s: %d calls, %d failed", when, len(lines), failed)
}

// streamsEnd releases the streams; each must have come to its end.
func (l *load) streamsEnd() {
	l.t.Helper()
	close(l.release)
	l.Eventually("every stream has ended", func() error {
		lines := l.logs("stream")
		if len(lines) < l.pods {
			return fmt.Errorf("%d of %d", len(lines), l.pods)
		}
		for _, line := range lines {
			if !strings.HasPrefix(line, "200 ") {
				l.t.Fatalf("a stream was cut: %s", line)
			}
		}
		return nil
	})
}

// governed waits until what nobody registers is refused in a pod.
func (l *load) governed() {
	l.t.Helper()
	l.refused("deployment/callers")
}

func (l *load) refused(pod string) {
	l.t.Helper()
	l.Eventually(pod+" is governed", func() error {
		out, err := l.Exec("load", pod, "curl -s -m 5 -o /dev/null -w '%{http_code}' http://www.google.com/")
		if err == nil && out != "502" {
			err = fmt.Errorf("answered %q, not 502", out)
		}
		return err
	})
}

// govern installs sluice and has it govern the pods.
func (l *load) govern(values ...string) {
	l.t.Helper()
	l.Install(values...)
	if _, err := l.KubectlIn(allowed, "apply", "-f", "-"); err != nil {
		l.t.Fatal(err)
	}
	l.Must("label", "namespace", "load", "sluice.dev/inject=true")
	for _, pod := range strings.Fields(l.Must("-n", "load", "get", "pods", "-o", "jsonpath={.items[*].metadata.name}")) {
		l.refused(pod)
	}
	l.passed = l.Internet.Connections("forbidden.example")
}

// nonePassed fails the test when somebody reached what nobody registers.
func (l *load) nonePassed(when string) {
	l.t.Helper()
	if n := l.Internet.Connections("forbidden.example") - l.passed; n != 0 {
		l.t.Errorf("%s: %d connections went past the proxy", when, n)
	}
}

// ready waits until sluice's pods are as their DaemonSets want them.
func (l *load) ready() {
	l.t.Helper()
	l.Rollout(world.Namespace, "daemonset/sluice-holder")
	l.Rollout(world.Namespace, "daemonset/sluice-agent")
}

// Installing, upgrading and uninstalling fail no call of pods that run, and the entry is
// out of the node's network in the end.
func TestInstallUpgradeAndUninstallFailNoCall(t *testing.T) {
	l := newLoad(t)
	l.more()
	l.govern("agent.drainSeconds=60")
	l.more()
	l.allSucceeded("installed")

	l.Upgrade("agent.drainSeconds=50", "agent.podAnnotations.revision=two", "holder.podAnnotations.revision=two")
	l.governed()
	l.more()
	l.allSucceeded("upgraded")
	l.nonePassed("upgraded")

	l.streamsEnd()
	if out, err := l.Helm("uninstall", "sluice", "--namespace", world.Namespace, "--wait", "--timeout", "5m"); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, l.Describe(world.Namespace))
	}
	l.more()
	l.allSucceeded("uninstalled")
	if _, err := l.Exec("load", "deployment/callers", "curl -sk -m 5 -o /dev/null https://www.google.com/"); err != nil {
		t.Errorf("a pod is governed after uninstalling: %v", err)
	}
	err := filepath.WalkDir(world.ConfDir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), "sluice") {
			t.Errorf("%s still has sluice:\n%s", path, text)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(world.BinDir, "sluice-cni")); err != nil {
		t.Errorf("the plugin that passes everything through: %v", err)
	}
	if out := l.Must("get", "daemonsets", "-A", "-o", "name"); out != "" {
		t.Errorf("left are %s", out)
	}
	if out := l.Must("get", "serviceentries", "-n", "load", "-o", "name"); !strings.Contains(out, "called") {
		t.Errorf("users' resources are gone: %q", out)
	}
	l.Must("delete", "namespace", "load", "--timeout=60s") // DEL calls the retired plugin
}

// Pods of both DaemonSets are deleted again and again; in the end every pod is governed
// and nobody takes over from anybody in a circle.
func TestDaemonSetPodsDeletedAgainAndAgain(t *testing.T) {
	l := newLoad(t)
	l.govern("agent.drainSeconds=5")
	rounds := 2
	if *full {
		rounds = 20
	}
	for range rounds {
		for _, set := range []string{"agent", "holder"} {
			l.Must("-n", world.Namespace, "delete", "pod", "-l", "app.kubernetes.io/component="+set, "--timeout=2m")
			l.ready()
			l.governed()
		}
	}
	l.more()
	l.allSucceeded("after the deletions")
	l.nonePassed("after the deletions")
	restarts := l.Must("-n", world.Namespace, "get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}")
	for _, n := range strings.Fields(restarts) {
		if n != "0" {
			t.Errorf("containers of sluice were started again: %s", restarts)
			break
		}
	}
}
