// Package remedy has what messages tell a person to do, in the words of the place that the
// process runs in: a node on which somebody types commands, or a pod that is reached by
// kubectl only.
package remedy

import (
	"os"
	"strings"
	"sync"
)

// Place is where a process runs. The zero value is a node, by hand.
type Place struct {
	Namespace, Pod string
	Container      string // of the pod; "" for its first
}

// Here is this process's place: a pod where POD_NAMESPACE and POD_NAME say which one, as the
// chart has Kubernetes tell its containers, and the container that POD_CONTAINER names, as
// 'sluice inject' has it in a sidecar. The plugin, which the runtime runs on the node,
// has neither.
var Here = sync.OnceValue(func() Place { return from(os.Getenv) })

func from(getenv func(string) string) Place {
	p := Place{Namespace: getenv("POD_NAMESPACE"), Pod: getenv("POD_NAME"), Container: getenv("POD_CONTAINER")}
	if p.Namespace == "" || p.Pod == "" {
		return Place{}
	}
	return p
}

// InCluster: kubectl is how this process is reached.
func (p Place) InCluster() bool { return p.Pod != "" }

// Sluice is a command line of sluice, given without that first word, as a person types it
// to have it run beside this process, in quotes.
func (p Place) Sluice(words string) string {
	if !p.InCluster() {
		return "'sluice " + words + "'"
	}
	pod := p.Pod
	if p.Container != "" {
		pod += " -c " + p.Container
	}
	return "'kubectl -n " + p.Namespace + " exec " + pod + " -- /sluice " + words + "'"
}

// Files is where a person writes the resources of this process, where no command does: those
// of a sidecar are a ConfigMap's, mounted at dir. "" elsewhere.
func (p Place) Files(dir string) string {
	if p.Container == "" {
		return ""
	}
	return "the ConfigMap of namespace " + p.Namespace + " that is mounted at " + dir
}

// Apply is the command that puts resources on its standard input into a namespace of the
// cluster.
func Apply(namespace string) string { return "kubectl -n " + namespace + " apply -f -" }

// Remedy is something to be done.
type Remedy int

const (
	Agent       Remedy = iota // no agent answers on the node
	Holder                    // no holder answers on the node
	Nobody                    // neither answers
	OtherNode                 // the node's agent knows no such pod
	Ranges                    // what includeIPRanges auto stands for cannot be read
	Reinstalled               // the entry came back while it was taken out
	AgentGone                 // captured pods stay so, since no agent lets go of them
	Left                      // an uninstall was begun, and perhaps given up
	MayNotLook                // who asks may not read what is deployed
	remedies
)

// texts have each remedy by hand and in a cluster, where NAMESPACE is sluice's.
var texts = [remedies]struct{ byHand, inCluster string }{
	Agent: {
		"start 'sluice agent'",
		"'kubectl -n NAMESPACE get pods -o wide -l app.kubernetes.io/component=agent' shows this node's agent, and 'kubectl logs' why it does not run",
	},
	Holder: {
		// What the plugin says, too, which does not know whether its node is a cluster's.
		"is 'sluice holder' running on this node (in a cluster a pod of the DaemonSet sluice-holder)?",
		"'kubectl -n NAMESPACE get pods -o wide -l app.kubernetes.io/component=holder' shows this node's holder, and 'kubectl logs' why it does not run",
	},
	Nobody: {
		"start 'sluice holder' and 'sluice agent', or name the directory of their sockets with --run-dir",
		"'kubectl -n NAMESPACE get pods -o wide -l app.kubernetes.io/name=sluice' shows both of this node, and 'kubectl logs' why they do not run",
	},
	OtherNode: {
		"'sluice status --all' lists those it does, as NAMESPACE/NAME",
		"ask the agent of the pod's own node: 'kubectl get pod -o wide' has its name, and 'kubectl -n NAMESPACE get pods -o wide' that of the agent there",
	},
	Ranges: { // as above
		"run 'sluice cidr --from-cluster --write FILE' on this node ('sluice cidr --help' has other ways to find the ranges), or name the ranges; in a cluster the agent (--kubernetes) writes it, and its log says what it lacks",
		"the agent writes it from the ServiceCIDR and Node objects, and its log says what they lack; or name the ranges, in the value policy.defaults.includeIPRanges",
	},
	Reinstalled: {
		"stop what puts it there, first of all 'sluice install --watch' on this node, then try again",
		"stop what puts it there: another release of sluice, or a plugin that writes the whole directory; it is tried again",
	},
	AgentGone: {
		"'sluice cleanup' takes the rules out of them; --agent off says that there is no agent",
		"bring this node's agent back ('kubectl -n NAMESPACE get pods -o wide -l app.kubernetes.io/component=agent'); it is tried again",
	},
	Left: {
		"start 'sluice agent' anew to go on with it",
		"'kubectl -n NAMESPACE rollout restart daemonset/sluice-agent' goes on with it",
	},
	MayNotLook: {
		"--kubeconfig names one whose user may",
		"'kubectl sluice status cluster --namespace NAMESPACE' asks as kubectl does, from where you run it; this pod needs no such right",
	},
}

// Say is the remedy in the words of the place.
func (p Place) Say(r Remedy) string {
	if !p.InCluster() {
		return texts[r].byHand
	}
	return strings.ReplaceAll(texts[r].inCluster, "NAMESPACE", p.Namespace)
}
