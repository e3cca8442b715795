package main

import (
	"cmp"
	"fmt"
	"io"
	"strconv"

	"github.com/sluice-cni/sluice/agent"
)

func printNode(w io.Writer, n agent.NodeStatus) {
	facts(w,
		[2]string{"agent", nodeState(n)},
		[2]string{"process", fmt.Sprintf("%d, sluice %s, %d goroutines, %d files open", n.PID, n.Build, n.Goroutines, n.Descriptors)},
		[2]string{"holder", holderState(n)},
		[2]string{"exemption", exemptionText(n)},
		[2]string{"policy", "generation " + strconv.FormatUint(n.Policy, 10) + policyMistakes(n)},
		[2]string{"ranges", cmp.Or(n.RangesErr, rangesText(n.Ranges))},
		[2]string{"resources", resourcesText(n)},
		[2]string{"cluster", n.Cluster},
		[2]string{"connections", fmt.Sprintf("%d of %d with those to servers, %d of %d MiB of buffers", n.Used.Connections, n.Most.Connections, n.Used.Memory>>20, n.Most.Memory>>20)},
	)
	fmt.Fprintln(w)
	for _, text := range n.Beside {
		fmt.Fprintf(w, "warning: %s\n\n", printableUpTo(text, maxFact))
	}
	printResourceIssues(w, n.Issues)
}

func nodeState(n agent.NodeStatus) string {
	text := fmt.Sprintf("serves %s", count(n.Serving, "pod"))
	switch {
	case n.Leaving:
		text = "lets go of every pod, since sluice is being uninstalled; " + text
	case n.Retired:
		text = "has been replaced; what it carries goes on"
	case n.NotReady != "":
		text = "not ready: " + n.NotReady + "; " + text
	}
	if n.Draining > 0 {
		text += fmt.Sprintf(", %d drain", n.Draining)
	}
	if n.Others > 0 {
		text += fmt.Sprintf("; %s beside it", count(n.Others, "other agent"))
	}
	return text
}

func holderState(n agent.NodeStatus) string {
	if n.Connected {
		return "connected"
	}
	return "no session: new pods are not enrolled; those that are served stay so"
}

func exemptionText(n agent.NodeStatus) string {
	if n.Exemption == "cgroup" {
		return "cgroup " + n.Cgroup
	}
	return n.Exemption + ", since " + n.Why
}

// rangesText are the cluster's ranges; where there are none, nobody wants any.
func rangesText(ranges int) string {
	if ranges == 0 {
		return "-"
	}
	return fmt.Sprintf("%d for includeIPRanges auto", ranges)
}

func resourcesText(n agent.NodeStatus) string {
	text := strconv.Itoa(n.Resources)
	if n.Errors > 0 {
		where := "'sluice validate' shows them"
		if len(n.Issues) > 0 {
			where = "see below"
		}
		text += fmt.Sprintf(", %s: %s", count(n.Errors, "error"), where)
	}
	return text
}

// printResourceIssues says what is the matter with resources of a cluster, some of it.
func printResourceIssues(w io.Writer, issues []string) {
	const shown = 20
	for _, text := range issues[:min(len(issues), shown)] {
		fmt.Fprintln(w, printableUpTo(text, maxFact))
	}
	if more := len(issues) - shown; more > 0 {
		fmt.Fprintf(w, "and %d more; -o json has them\n", more)
	}
	if len(issues) > 0 {
		fmt.Fprintln(w)
	}
}

// policyMistakes are what files and cluster say of the policy that cannot be used.
func policyMistakes(n agent.NodeStatus) string {
	if n.PolicyErr == "" {
		return ""
	}
	return "; left out of it: " + n.PolicyErr
}
