package tiers

import (
	"io"
	"net/http"
	"testing"

	"github.com/sluice-cni/sluice/demo"
	"github.com/sluice-cni/sluice/e2e/egress"
)

// Tier is where one scenario's pods run: a Kubernetes namespace of a node that has sluice.
// Nothing is registered there and no pod is selected at first.
type Tier interface {
	// Pod makes a pod with these annotations and waits until commands can be run in it. The
	// error is what whoever refused it said.
	Pod(t *testing.T, name string, annotations map[string]string) (Pod, error)
	// Select has the pods governed, those that run too, or lets them go, a little later.
	Select(t *testing.T, yes bool)
	// Apply puts resources in force, a little later, and Withdraw takes those away that
	// Apply was given as the same text.
	Apply(t *testing.T, yaml string)
	Withdraw(t *testing.T, yaml string)
	// ReplaceAgent has another agent take over from the one that serves, as an upgrade does,
	// and returns when it serves.
	ReplaceAgent(t *testing.T)
}

// Pod is a running pod.
type Pod interface {
	// Bash runs commands of bash, with curl, in a folder in which they may write, and gives
	// what they wrote to their output. The error is that of the last command.
	Bash(commands string) (string, error)
	// Started is another text whenever the pod, or anything in it, has been started anew.
	Started() string
}

// Act puts what the scenarios ask for onto an acted internet. The names have no IPv6
// addresses, as nodes often have none either.
func Act(n *egress.Internet) {
	n.Name("httpbin.org", "203.0.113.10")
	n.Web("httpbin.org", 80, demo.HTTPBin())
	n.Name("www.google.com", "203.0.113.20")
	n.WebTLS("www.google.com", 443, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "A search page, over HTTPS.\n")
	}))
}
