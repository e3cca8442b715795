package suite

import (
	"regexp"
	"strconv"
	"strings"
)

// The page's resources, as they are written there. Only what Istio's own definitions do
// not have any more is as they have it now: spec.host of a DestinationRule, which was
// spec.name.
const (
	httpbinEntry = `apiVersion: networking.istio.io/v1alpha3
kind: ServiceEntry
metadata:
  name: httpbin-ext
spec:
  hosts:
  - httpbin.org
  ports:
  - number: 80
    name: http
    protocol: http
`
	googleEntry = `apiVersion: networking.istio.io/v1alpha3
kind: ServiceEntry
metadata:
  name: google-ext
spec:
  hosts:
  - www.google.com
  ports:
  - number: 443
    name: https
    protocol: http
---
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata:
  name: google-ext
spec:
  host: www.google.com
  trafficPolicy:
    tls:
      mode: SIMPLE # initiates HTTPS when talking to www.google.com
`
	httpbinTimeout = `apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata:
  name: httpbin-ext
spec:
  hosts:
    - httpbin.org
  http:
  - timeout: 3s
`
)

// page is "Control Egress Traffic", in its order.
func page(n *namespace) {
	n.kubectl("", "label", "namespace", n.name, "sluice.dev/inject=true")
	pod := n.sourcePod()
	n.eventually(pod, status, "502") // governed, and nothing is registered

	n.kubectl(httpbinEntry, "create", "-f", "-")
	n.kubectl(googleEntry, "create", "-f", "-")
	n.eventually(pod, "curl -s -m 10 http://httpbin.org/headers", `"Host"`)
	// Over HTTP, with the port: the proxy begins TLS.
	n.eventually(pod, `curl -s -m 10 -o /dev/null -w '%{http_code}' http://www.google.com:443`, "200")

	const delay = `time curl -o /dev/null -s -w "%{http_code}\n" http://httpbin.org/delay/5`
	if code, seconds := n.timed(pod, delay); code != "200" || seconds < 5 {
		n.t.Errorf("without a timeout: %s after %.1f s; want 200 after 5", code, seconds)
	}
	n.kubectl(httpbinTimeout, "create", "-f", "-")
	n.eventually(pod, `curl -o /dev/null -s -w '%{http_code}' http://httpbin.org/delay/5`, "504")
	if code, seconds := n.timed(pod, delay); code != "504" || seconds < 3 || seconds >= 5 {
		n.t.Errorf("with a timeout of 3 s: %s after %.1f s; want 504 after 3", code, seconds)
	}
}

// timed runs commands that begin with bash's time, and gives their output and how long
// they say that it took.
func (n *namespace) timed(pod, commands string) (output string, seconds float64) {
	n.t.Helper()
	out, err := n.bash(pod, "{ "+commands+"; } 2>&1")
	if err != nil {
		n.t.Fatal(err)
	}
	output, _, _ = strings.Cut(out, "\n")
	m := regexp.MustCompile(`real\s+(\d+)m([\d.]+)s`).FindStringSubmatch(out)
	if m == nil {
		n.t.Fatalf("%s: no time in %q", commands, out)
	}
	minutes, _ := strconv.ParseFloat(m[1], 64)
	rest, _ := strconv.ParseFloat(m[2], 64)
	return output, 60*minutes + rest
}
