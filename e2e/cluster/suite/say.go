package suite

import (
	"fmt"
	"strings"

	"github.com/sluice-cni/sluice/internal/await"
)

// say: a pod's own label governs it while it runs, and what is refused or left alone is
// an Event where people look.
func say(n *namespace) {
	pod := n.sourcePod()
	n.eventually(pod, status, "200")
	n.kubectl("", "label", "pod", pod, "sluice.dev/inject=true")
	n.eventually(pod, status, "502")
	n.kubectl("", "label", "pod", pod, "sluice.dev/inject-")
	n.eventually(pod, status, "200")

	n.kubectl(`apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: mutual}
spec: {host: httpbin.org, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}
`, "apply", "-f", "-")
	n.event("SluiceRefused", "DestinationRule/mutual", "ISTIO_MUTUAL")

	n.kubectl("", "label", "namespace", n.name, "sluice.dev/inject=true")
	n.kubectl(`apiVersion: v1
kind: Pod
metadata: {name: meshed, annotations: {sidecar.istio.io/status: "{}"}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: sleep, image: `+appImage()+`, imagePullPolicy: IfNotPresent, command: [sleep, infinity]}
`, "apply", "-f", "-")
	n.event("SluiceLeftAlone", "Pod/meshed", "Istio's sidecar")
	n.eventually("meshed", status, "200")
	n.eventually(pod, status, "502")
}

// event waits until there is an Event with a reason about an object, KIND/NAME.
func (n *namespace) event(reason, about, says string) {
	n.t.Helper()
	await.Silence(n.t, func() string {
		out := n.kubectl("", "get", "events", "--field-selector=reason="+reason,
			"-o", `jsonpath={range .items[*]}{.involvedObject.kind}/{.involvedObject.name} {.message}{"\n"}{end}`)
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, about+" ") && strings.Contains(line, says) {
				return ""
			}
		}
		return fmt.Sprintf("no Event %s about %s that says %q, but:\n%s", reason, about, says, out)
	})
}
