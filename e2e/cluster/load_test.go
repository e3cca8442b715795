package cluster_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/cluster/world"
	"github.com/sluice-cni/sluice/e2e/node/containerd"
	"github.com/sluice-cni/sluice/e2e/node/load"
	"github.com/sluice-cni/sluice/e2e/tiers"
)

var full = flag.Bool("full", false, "run the load and fault tests at their full size")

// patience is how long a call may wait for its answer: longer than an agent is away.
const patience = 40 * time.Second

// callers are pods that call again and again, and log how each call ended, in turn with
// what nobody registers. Beside that they read one long answer from before sluice was
// there, and one that began when they were governed.
const callers = `apiVersion: apps/v1
kind: Deployment
metadata: {name: callers, namespace: load}
spec:
  replicas: %[1]d
  selector: {matchLabels: {app: callers}}
  template:
    metadata: {labels: {app: callers}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: calls
        image: ` + containerd.Image + `
        imagePullPolicy: Never
        command: [/incontainer, calls, '%[2]s']
      - name: stream
        image: ` + world.App + `
        imagePullPolicy: Never
        command: [bash, -c, "until curl -s -m 5 -o /dev/null http://called.example/; do sleep 1; done; %[3]s; sleep infinity"]
      - name: governed
        image: ` + world.App + `
        imagePullPolicy: Never
        command: [bash, -c, "until [ $(curl -s -m 5 -o /dev/null -w '%%{http_code}' http://www.google.com/) = 502 ]; do sleep 1; done; %[3]s; sleep infinity"]
`

// streamed prints the status of a long answer and how much of it came, once it has ended.
const streamed = `echo $(curl -sSN -o /dev/null -w '%{http_code} %{size_download}' http://stream.example/ 2>&1)`

const allowed = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: called, namespace: load}
spec:
  hosts: [httpbin.org, called.example, stream.example, endless.example, first.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
`

// underLoad is a cluster with pods that call, and what they were answered.
type underLoad struct {
	*world.World
	t       *testing.T
	pods    int
	called  atomic.Int64  // calls that came to their server
	release chan struct{} // closed: streams end
	since   string        // when sluice was installed, in UTC: what failed before is not its
	passed  int           // connections to what nobody registers, before pods were governed
	killing time.Time     // when an agent was about to be killed
	killed  time.Time     // when it was dead

	mu    sync.Mutex
	first map[string]map[string]bool // see comers
}

func newLoad(t *testing.T) *underLoad {
	pods, perSecond := 4, 2
	if *full {
		pods, perSecond = 30, 5
	}
	l := &underLoad{World: world.New(t, world.Options{}), t: t, pods: pods, release: make(chan struct{}), first: map[string]map[string]bool{}}
	tiers.Act(l.Internet)
	l.Internet.Web("forbidden.example", 80, nil)
	l.Internet.Web("called.example", 80, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.called.Add(1)
		fmt.Fprint(w, r.Host)
	}))
	l.Internet.Web("stream.example", 80, trickle(l.release))
	l.Internet.Web("endless.example", 80, trickle(nil))
	l.Internet.Web("first.example", 80, http.HandlerFunc(l.came))
	spec, err := json.Marshal(load.Spec{
		PerSecond: float64(2 * perSecond), Patience: patience, // half of them calls
		Targets: []load.Target{
			{Kind: load.HTTP, Address: "called.example:80", Name: "called.example"},
			{Kind: load.Probe, Address: "forbidden.example:80", Name: "forbidden.example"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Must("create", "namespace", "load")
	l.apply(fmt.Sprintf(callers, pods, spec, streamed))
	l.Rollout("load", "deployment/callers")
	l.Eventually("every pod reads a stream from before sluice is there", func() error {
		if n := len(l.Internet.Seen("stream.example")); n < pods {
			return fmt.Errorf("%d of %d", n, pods)
		}
		return nil
	})
	return l
}

// trickle answers with a byte each second until it is released.
func trickle(release <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			fmt.Fprint(w, ".")
			w.(http.Flusher).Flush()
			select {
			case <-release:
				fmt.Fprint(w, "the end")
				return
			case <-r.Context().Done():
				return
			case <-tick.C:
			}
		}
	})
}

func (l *underLoad) apply(manifest string) {
	l.t.Helper()
	if _, err := l.KubectlIn(manifest, "apply", "-f", "-"); err != nil {
		l.t.Fatal(err)
	}
}

// logs are the lines that one container of all callers has written.
func (l *underLoad) logs(container string) []string {
	l.t.Helper()
	return l.logsOf("callers-", container)
}

// logsOf are the lines that one container of the pods whose names begin so has written. They
// are read where the kubelet keeps them, so that it takes no API server.
func (l *underLoad) logsOf(pods, container string) (lines []string) {
	l.t.Helper()
	files, err := filepath.Glob("/var/log/pods/load_" + pods + "*/" + container + "/*.log")
	if err != nil {
		l.t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			l.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			// The time, stdout or stderr, F for a whole line, and the line.
			if part := strings.SplitN(strings.TrimSpace(line), " ", 4); len(part) == 4 && part[2] == "F" {
				lines = append(lines, part[3])
			}
		}
	}
	return lines
}

// more waits until the pods have made some more calls.
func (l *underLoad) more() {
	l.t.Helper()
	enough := l.called.Load() + int64(4*l.pods)
	l.Eventually("the pods go on calling", func() error {
		if n := l.called.Load(); n < enough {
			return fmt.Errorf("%d of %d calls", n, enough)
		}
		return nil
	})
}

// allSucceeded fails the test for calls, since sluice was installed, that were not answered
// as they should be: once for each reason.
func (l *underLoad) allSucceeded(when string) {
	l.t.Helper()
	lines := l.logs("calls")
	failed := map[string][]string{}
	hadByKilled := 0
	for _, line := range lines {
		if strings.HasSuffix(line, " good") || line < l.since {
			continue
		}
		if l.hadByKilled(line) {
			hadByKilled++
			continue
		}
		_, why, _ := strings.Cut(line, " by ")
		why = numbers.ReplaceAllString(why, "N")
		failed[why] = append(failed[why], line)
	}
	for why, these := range failed {
		slices.Sort(these)
		l.t.Errorf("%s: %d calls failed by %s, such as:\n%s\n%s", when, len(these), why, these[0], these[len(these)-1])
	}
	l.t.Logf("%s: %d calls, %d ways to fail; %d ended with an agent that was killed", when, len(lines), len(failed), hadByKilled)
}

// hadByKilled says whether a call that failed was under way when an agent was killed and was
// cut: what a killed agent has in its hands is lost with it, and nothing else is.
func (l *underLoad) hadByKilled(line string) bool {
	var day, clock, took string
	if _, err := fmt.Sscanf(line, "%s %s failed after %s", &day, &clock, &took); err != nil {
		return false
	}
	began, err := time.Parse(time.DateTime, day+" "+clock)
	lasted, err2 := time.ParseDuration(took)
	cut := strings.HasSuffix(line, "EOF") || strings.HasSuffix(line, "connection reset by peer")
	return err == nil && err2 == nil && cut && !began.After(l.killed) && !began.Add(lasted).Before(l.killing)
}

// numbers are what differs among failures of one kind.
var numbers = regexp.MustCompile(`[0-9]+`)

// streamsGoOn fails the test for each stream that has ended.
func (l *underLoad) streamsGoOn(when string) {
	l.t.Helper()
	for _, container := range []string{"stream", "governed"} {
		for _, line := range l.logs(container) {
			l.t.Errorf("%s: a stream of container %s has ended: %s", when, container, line)
		}
	}
}

// streamsEnd releases the streams; each must have come to its end.
func (l *underLoad) streamsEnd() {
	l.t.Helper()
	close(l.release)
	for _, container := range []string{"stream", "governed"} {
		l.Eventually("every stream has ended", func() error {
			lines := l.logs(container)
			if len(lines) < l.pods {
				return fmt.Errorf("%d of %d", len(lines), l.pods)
			}
			for _, line := range lines {
				if !strings.HasPrefix(line, "200 ") {
					l.t.Fatalf("a stream of container %s was cut: %s", container, line)
				}
			}
			return nil
		})
	}
}

// governed waits until what nobody registers is refused in a pod.
func (l *underLoad) governed() {
	l.t.Helper()
	l.refused("deployment/callers")
}

func (l *underLoad) refused(pod string) {
	l.t.Helper()
	l.Eventually(pod+" is governed", func() error {
		out, err := l.Exec("load", pod, "curl -s -m 5 -o /dev/null -w '%{http_code}' http://www.google.com/")
		if err == nil && out != "502" {
			err = fmt.Errorf("answered %q, not 502", out)
		}
		return err
	})
}

// withShell is a container of callers that has a shell: the first one has none.
const withShell = "stream"

// Exec runs a shell command in a pod of callers.
func (l *underLoad) Exec(namespace, pod, script string) (string, error) {
	return l.Kubectl("-n", namespace, "exec", pod, "-c", withShell, "--", "bash", "-c", script)
}

// govern installs sluice and has it govern the pods, each with a stream that it governs.
func (l *underLoad) govern(values ...string) {
	l.t.Helper()
	l.since = time.Now().UTC().Format(time.DateTime)
	l.Install(values...)
	l.apply(allowed)
	before := len(l.Internet.Seen("stream.example"))
	l.Must("label", "namespace", "load", "sluice.dev/inject=true")
	for _, pod := range strings.Fields(l.Must("-n", "load", "get", "pods", "-o", "jsonpath={.items[*].metadata.name}")) {
		l.refused(pod)
	}
	l.Eventually("every pod has a stream that is governed", func() error {
		if n := len(l.Internet.Seen("stream.example")) - before; n < l.pods {
			return fmt.Errorf("%d of %d", n, l.pods)
		}
		return nil
	})
	l.passed = l.Internet.Connections("forbidden.example")
}

// nonePassed fails the test when somebody reached what nobody registers.
func (l *underLoad) nonePassed(when string) {
	l.t.Helper()
	if n := l.Internet.Connections("forbidden.example") - l.passed; n != 0 {
		l.t.Errorf("%s: %d connections went past the proxy", when, n)
	}
}

// ready waits until sluice's pods are as their DaemonSets want them.
func (l *underLoad) ready() {
	l.t.Helper()
	l.Rollout(world.Namespace, "daemonset/sluice-holder")
	l.Rollout(world.Namespace, "daemonset/sluice-agent")
}

// sluices are the pods of one of sluice's DaemonSets, agent or holder, by name: ready, not
// ready, or told to end.
func (l *underLoad) sluices(component string) map[string]string {
	l.t.Helper()
	pods := map[string]string{}
	for line := range strings.Lines(l.Must("-n", world.Namespace, "get", "pods", "-l", "app.kubernetes.io/component="+component,
		"-o", `jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status} {.metadata.deletionTimestamp}{"\n"}{end}`)) {
		switch part := strings.Fields(line); {
		case len(part) == 3:
			pods[part[0]] = "told to end"
		case len(part) == 2 && part[1] == "True":
			pods[part[0]] = "ready"
		default:
			pods[part[0]] = "not ready"
		}
	}
	return pods
}

// replaces does what has pods of a DaemonSet replaced, and waits until another one is ready
// and those of before are told to end. They may take long for that, while they drain, and
// for as long a rollout counts as under way.
func (l *underLoad) replaces(component string, do func()) {
	l.t.Helper()
	before := l.sluices(component)
	do()
	l.Eventually("another "+component+" is ready", func() error {
		now := l.sluices(component)
		ready := false
		for name, state := range now {
			if _, old := before[name]; old && state != "told to end" {
				return fmt.Errorf("pods are %v, and were %v", now, before)
			} else if !old && state == "ready" {
				ready = true
			}
		}
		if !ready {
			return fmt.Errorf("pods are %v, and were %v", now, before)
		}
		return nil
	})
}

// restarted fails the test when the kubelet has started a container of sluice again.
func (l *underLoad) restarted() {
	l.t.Helper()
	restarts := l.Must("-n", world.Namespace, "get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}")
	if strings.Trim(restarts, "0 ") != "" {
		l.t.Errorf("containers of sluice were started again: %s", restarts)
	}
}

// helm runs it and fails the test with what is known of sluice's pods.
func (l *underLoad) helm(args ...string) {
	l.t.Helper()
	if out, err := l.Helm(append(args, "--namespace", world.Namespace)...); err != nil {
		l.t.Fatalf("%v\n%s\n%s", err, out, l.Describe(world.Namespace))
	}
}
