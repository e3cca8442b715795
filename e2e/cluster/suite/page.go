package suite

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/egresspage"
)

// page is "Control Egress Traffic", in its order, with its resources to the letter. Only
// where a cluster has Istio's own definitions, which have no spec.name of a
// DestinationRule any more, it is spec.host.
func page(n *namespace) {
	google := egresspage.Google
	if _, err := n.try("", "explain", "destinationrules.spec.name"); err != nil {
		google = strings.Replace(google, "\n  name: www.google.com", "\n  host: www.google.com", 1)
	}
	shell := n.terminal()
	pod := shell.start("kubectl apply -f <(sluice inject -f samples/sleep/sleep.yaml)")
	n.eventually(pod, status, "502") // governed, and nothing is registered

	n.kubectl(egresspage.HTTPBin, "create", "-f", "-")
	n.kubectl(google, "create", "-f", "-")
	n.eventually(pod, "curl -s -m 10 http://httpbin.org/headers", `"Host"`)
	// Over HTTP, with the port: the proxy begins TLS.
	n.eventually(pod, `curl -s -m 10 -o /dev/null -w '%{http_code}' http://www.google.com:443`, "200")

	const delay = `time curl -o /dev/null -s -w "%{http_code}\n" http://httpbin.org/delay/5`
	if code, seconds := n.timed(pod, delay); code != "200" || seconds < 5 {
		n.t.Errorf("without a timeout: %s after %.1f s; want 200 after 5", code, seconds)
	}
	n.kubectl(egresspage.Timeout, "create", "-f", "-")
	n.eventually(pod, `curl -o /dev/null -s -w '%{http_code}' http://httpbin.org/delay/5`, "504")
	if code, seconds := n.timed(pod, delay); code != "504" || seconds < 3 || seconds >= 5 {
		n.t.Errorf("with a timeout of 3 s: %s after %.1f s; want 504 after 3", code, seconds)
	}

	// Calling external services directly: what is outside of the ranges is not captured, so
	// the timeout is nothing to it.
	pod = shell.start("kubectl apply -f <(sluice inject -f samples/sleep/sleep.yaml --includeIPRanges=10.0.0.1/24)")
	n.eventually(pod, "curl -s -m 10 http://httpbin.org/headers", `"Host"`)
	if code, seconds := n.timed(pod, delay); code != "200" || seconds < 5 {
		n.t.Errorf("directly: %s after %.1f s; want 200 after 5", code, seconds)
	}

	// Cleanup
	shell.enter("kubectl delete ServiceEntry httpbin-ext google-ext")
	shell.enter("kubectl delete destinationrule google-ext")
	shell.enter("kubectl delete virtualservice httpbin-ext")
	shell.enter("kubectl delete -f samples/sleep/sleep.yaml")
	if left := n.kubectl("", "get", "serviceentries,destinationrules,virtualservices,deployments", "-o", "name"); left != "" {
		n.t.Errorf("after the page's cleanup there is\n%s", left)
	}
}

// start starts the page's sample by one of its lines, and gives the pod once it is the
// only one.
func (t terminal) start(line string) (pod string) {
	t.t.Helper()
	t.enter(line)
	t.enter("kubectl rollout status deployment/sleep --timeout=" + patience.String())
	await.Silence(t.t, func() string {
		out, err := t.line("export SOURCE_POD=$(kubectl get pod -l app=sleep -o jsonpath={.items..metadata.name}); echo $SOURCE_POD")
		t.must(err)
		if pod = strings.TrimSpace(out); pod == "" || strings.Contains(pod, " ") {
			return "not one pod sleep, but " + out
		}
		return ""
	})
	return pod
}

// timed runs commands that begin with bash's time, and gives their output and how long
// they say that it took.
func (n *namespace) timed(pod, commands string) (output string, seconds float64) {
	n.t.Helper()
	commands = "{ " + commands + "; } 2>&1"
	out, err := n.bash(pod, commands)
	if err != nil {
		n.t.Fatal(err)
	}
	n.show("", inPod(pod, commands), out)
	output, _, _ = strings.Cut(out, "\n")
	m := regexp.MustCompile(`real\s+(\d+)m([\d.]+)s`).FindStringSubmatch(out)
	if m == nil {
		n.t.Fatalf("%s: no time in %q", commands, out)
	}
	minutes, _ := strconv.ParseFloat(m[1], 64)
	rest, _ := strconv.ParseFloat(m[2], 64)
	return output, 60*minutes + rest
}
