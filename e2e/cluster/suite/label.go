package suite

import "strings"

// status is what a request to a host that nobody registers is answered with: by itself
// where the pod is not governed, by the proxy where it is.
const status = `curl -s -m 10 -o /dev/null -w '%{http_code}' http://httpbin.org/headers`

// label: a label on a namespace changes where its pods' next connections go. No pod starts
// anew, and what is under way stays as it began.
func label(n *namespace) {
	pod := n.sourcePod()
	before := n.state(pod)
	n.eventually(pod, status, "200")

	underWay := make(chan string, 1)
	go func() {
		out, err := n.bash(pod, `curl -sS -m 30 -o /dev/null -w '%{http_code}' http://httpbin.org/delay/8`)
		if err != nil {
			out += " " + err.Error()
		}
		underWay <- out
	}()
	n.eventually(pod, "cat /proc/*/cmdline 2>/dev/null", "delay/8")
	n.kubectl("", "label", "namespace", n.name, "sluice.dev/inject=true")
	n.eventually(pod, status, "502")
	if got := <-underWay; got != "200" {
		n.t.Errorf("a request that was under way when the namespace was labelled ended with %q, not 200", got)
	}

	n.kubectl("", "label", "namespace", n.name, "sluice.dev/inject-")
	n.eventually(pod, status, "200")
	if after := n.state(pod); after != before {
		n.t.Errorf("the pod was %q and is %q: something started anew", before, after)
	}
}

// state is what changes of a pod when it, or a container of it, starts anew.
func (n *namespace) state(pod string) string {
	n.t.Helper()
	return strings.TrimSpace(n.kubectl("", "get", "pod", pod, "-o",
		"jsonpath={.metadata.uid} {.status.containerStatuses[*].restartCount} {.status.containerStatuses[*].containerID}"))
}
