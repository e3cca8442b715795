package suite

import (
	"strings"

	"github.com/sluice-cni/sluice/internal/await"
)

// observe: under Observe a labelled namespace loses nothing, and what `sluice suggest`
// prints lets the same pass once what is not registered is refused.
func observe(n *namespace) {
	const tls = `curl -sk -m 10 -o /dev/null -w '%{http_code}' https://www.google.com/`
	const another = `curl -s -m 10 -o /dev/null -w '%{http_code}' http://www.google.com/`
	pod := n.sourcePod()
	n.kubectl("", "annotate", "namespace", n.name, "sluice.dev/outboundPolicy=Observe")
	n.kubectl("", "label", "namespace", n.name, "sluice.dev/inject=true")

	suggested := ""
	await.Silence(n.t, func() string {
		for _, ask := range []string{status, tls} {
			if out, err := n.bash(pod, ask); err != nil || !strings.Contains(out, "200") {
				n.t.Fatalf("under Observe: %s: %q, %v", ask, out, err)
			}
		}
		suggested = n.suggest(pod, "")
		return missing(suggested, "hosts: [httpbin.org]", "hosts: [www.google.com]", "protocol: TLS")
	})
	await.Silence(n.t, func() string {
		log := n.kubectl("", "logs", "--namespace="+system, n.agent(pod), "-c", "agent", "--tail=-1")
		return missing(n.suggest(pod, log, "-f", "-"), "hosts: [httpbin.org]", "hosts: [www.google.com]")
	})

	n.kubectl(suggested, "apply", "-f", "-")
	n.kubectl("", "annotate", "--overwrite", "namespace", n.name, "sluice.dev/outboundPolicy=REGISTRY_ONLY")
	n.eventually(pod, another, "502") // nobody asked for that: the policy is in force
	n.eventually(pod, status, "200")
	n.eventually(pod, tls, "200")
}

// missing are those of words that a text does not have.
func missing(text string, words ...string) string {
	for _, word := range words {
		if !strings.Contains(text, word) {
			return "no " + word + " in:\n" + text
		}
	}
	return ""
}

// system is the namespace that sluice is installed in.
const system = "sluice-system"

// agent is the pod of the agent that serves a pod.
func (n *namespace) agent(pod string) string {
	n.t.Helper()
	node := n.kubectl("", "get", "pod", pod, "-o", "jsonpath={.spec.nodeName}")
	return n.kubectl("", "get", "pods", "--namespace="+system, "-l", "app.kubernetes.io/component=agent",
		"--field-selector=spec.nodeName="+node, "-o", "jsonpath={.items[0].metadata.name}")
}

// suggest is what the program in the agent's pod suggests for the namespace.
func (n *namespace) suggest(pod, stdin string, flags ...string) string {
	n.t.Helper()
	command := []string{"exec", "-i", "--namespace=" + system, n.agent(pod), "-c", "agent", "--", "/sluice", "suggest", "-n", n.name}
	return n.kubectl(stdin, append(command, flags...)...)
}
