package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/kubeapi"
)

// askNodesEvery is how often it is asked which nodes are done.
const askNodesEvery = 2 * time.Second

// clusterUninstall takes the plugin out of all nodes, by a DaemonSet of which each pod runs
// once its node is done.
type clusterUninstall struct {
	cluster *kubeapi.Cluster
	// agents are the DaemonSets that nothing may come back of, in the order in which they go.
	agents []string
	out    io.Writer
	wait   time.Duration
	every  time.Duration
}

func uninstallCluster(c *cobra.Command, kubeconfig, file string, agents []string, wait time.Duration) error {
	if file == "" {
		return usage(errors.New("--cluster: needs --daemonset: the DaemonSet that runs 'sluice uninstall' on each node"), "the Helm chart brings one, and a hook that does all this at 'helm uninstall'")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("--daemonset: %w", err)
	}
	set, err := readUninstallSet(text)
	if err != nil {
		return fmt.Errorf("--daemonset %s: %w", file, err)
	}
	cluster, err := kubeapi.Connect(kubeconfig, "")
	if err != nil {
		return err
	}
	return clusterUninstall{cluster, agents, c.OutOrStdout(), wait, askNodesEvery}.run(c.Context(), set)
}

// uninstallSet is the DaemonSet that does it on each node.
type uninstallSet struct {
	daemonSet
	object map[string]any
	run    string // by which the pods of this pass are known
}

// runAnnotation is on the pods of a pass, with a value of that pass's own. What begins with
// sluice.dev/ is for people, and the chart's admission policy refuses what it does not know.
const runAnnotation = "uninstall.sluice.dev/run"

// readUninstallSet reads a manifest, which must say its namespace.
func readUninstallSet(manifest []byte) (*uninstallSet, error) {
	var object map[string]any
	err := yaml.Unmarshal(manifest, &object)
	d := &uninstallSet{object: object}
	var text []byte
	if err == nil {
		text, err = json.Marshal(object)
	}
	if err == nil {
		err = json.Unmarshal(text, &d.daemonSet)
	}
	switch {
	case err != nil:
		return nil, err
	case d.Kind != kubeapi.DaemonSets.Name:
		return nil, fmt.Errorf("kind: value %q: must be %s", d.Kind, kubeapi.DaemonSets.Name)
	case d.Metadata.Name == "" || d.Metadata.Namespace == "":
		return nil, errors.New("metadata: name and namespace must be there")
	}
	return d, nil
}

// stamped is the manifest with pods that are made anew, whoever made such a DaemonSet before:
// a pod of then is ready since, whatever its node has come to.
func (d *uninstallSet) stamped() ([]byte, error) {
	d.run = rand.Text()
	inner(inner(inner(inner(d.object, "spec"), "template"), "metadata"), "annotations")[runAnnotation] = d.run
	return json.Marshal(d.object)
}

// inner is the object of an object, made where it is not there.
func inner(object map[string]any, name string) map[string]any {
	in, ok := object[name].(map[string]any)
	if !ok {
		in = map[string]any{}
		if object != nil {
			object[name] = in
		}
	}
	return in
}

// run makes the DaemonSet, waits until every node is done, and deletes agents, installers and
// holders. On a node that came meanwhile, and where one of them started anew, sluice may have
// begun again; nobody can any more, so each node does it once more. Then what it made goes.
func (u clusterUninstall) run(ctx context.Context, set *uninstallSet) error {
	waiting, cancel := context.WithTimeout(ctx, u.wait)
	defer cancel()
	if err := u.pass(ctx, waiting, set); err != nil {
		return err
	}
	for _, name := range u.agents {
		if err := u.end(waiting, kubeapi.Key{Namespace: set.Metadata.Namespace, Name: name}); err != nil {
			return err
		}
	}
	if err := u.pass(ctx, waiting, set); err != nil {
		return err
	}
	// Its pods remove what those have left on their nodes. One whose node went away meanwhile
	// does not end, and is done all the same.
	ending, cancel := context.WithTimeout(waiting, endWithin)
	defer cancel()
	err := u.end(ending, set.key())
	if err != nil && ending.Err() != nil && waiting.Err() == nil {
		fmt.Fprintln(u.out, err)
		return nil
	}
	return err
}

// endWithin is how long pods that are to end at once may take for it.
const endWithin = 30 * time.Second

// pass has every node do it.
func (u clusterUninstall) pass(ctx, waiting context.Context, set *uninstallSet) error {
	text, err := set.stamped()
	if err != nil {
		return err
	}
	var done string
	err = u.insist(waiting, func() (err error) {
		done, _, err = u.cluster.Apply(waiting, kubeapi.DaemonSets, text)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(u.out, "DaemonSet %s %s\n", set.key(), done)
	if err := u.await(waiting, set); err != nil {
		return errors.Join(err, ctx.Err())
	}
	return nil
}

// insist asks again while the API server is away, and says so once.
func (u clusterUninstall) insist(ctx context.Context, ask func() error) error {
	tick := time.NewTicker(u.every)
	defer tick.Stop()
	for said := false; ; said = true {
		err := ask()
		if !errors.Is(err, kubeapi.ErrUnreachable) {
			return err
		}
		if !said {
			fmt.Fprintln(u.out, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// end deletes a DaemonSet and waits until its pods are gone, also those of one that somebody
// deleted before.
func (u clusterUninstall) end(ctx context.Context, key kubeapi.Key) error {
	pods := kubeapi.Selector{Namespace: key.Namespace}
	err := u.insist(ctx, func() error {
		set, err := u.look(ctx, key)
		if err != nil {
			return err
		}
		pods = set.pods()
		return u.cluster.Delete(ctx, kubeapi.DaemonSets, key)
	})
	switch {
	case err == nil:
		fmt.Fprintf(u.out, "DaemonSet %s deleted\n", key)
	case !errors.Is(err, kubeapi.ErrNotFound):
		return err
	}
	tick := time.NewTicker(u.every)
	defer tick.Stop()
	for {
		left, err := u.cluster.List(ctx, kubeapi.Pods, pods)
		left = slices.DeleteFunc(left, func(o kubeapi.Object) bool { return !ownedBy(o, key.Name) })
		if err == nil && len(left) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("DaemonSet %s: deleted, and after %v %s not gone: %w", key, u.wait, count(len(left), "pod"), cmp.Or(err, context.Cause(ctx)))
		}
	}
}

// ownedBy says that a DaemonSet of that name made a pod.
func ownedBy(o kubeapi.Object, set string) bool {
	var pod struct {
		Metadata struct {
			OwnerReferences []struct{ Kind, Name string }
		}
	}
	if json.Unmarshal(o.JSON, &pod) != nil {
		return false
	}
	for _, owner := range pod.Metadata.OwnerReferences {
		if owner.Kind == kubeapi.DaemonSets.Name && owner.Name == set {
			return true
		}
	}
	return false
}

// await waits until every node is done. An API server that is away meanwhile is asked
// again.
func (u clusterUninstall) await(ctx context.Context, set *uninstallSet) error {
	tick := time.NewTicker(u.every)
	defer tick.Stop()
	said := ""
	for {
		now, err := u.progress(ctx, set)
		switch {
		case errors.Is(err, kubeapi.ErrNotFound):
			return fmt.Errorf("DaemonSet %s: somebody deleted it before every node was done", set.key())
		case errors.Is(err, kubeapi.ErrForbidden):
			return err
		case err == nil && now.known:
			if text := fmt.Sprintf("%d of %s done", len(now.done), count(now.desired, "node")); text != said {
				fmt.Fprintln(u.out, text)
				said = text
			}
			if now.all() {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return u.unfinished(set)
		}
	}
}

// progress is how far a pass is.
type progress struct {
	known   bool // the controller has seen this pass
	desired int  // nodes
	done    map[string]bool
	rest    []pod
}

// all: every node is done. A node that went when it was done still has its pod for a while,
// which is no other's.
func (p progress) all() bool {
	waits := slices.ContainsFunc(p.rest, func(one pod) bool { return !p.done[one.Spec.NodeName] })
	return len(p.done) >= p.desired && !waits
}

// pod is one of the DaemonSet's.
type pod struct {
	Metadata struct {
		Name              string
		Annotations       map[string]string
		DeletionTimestamp string
	}
	Spec   struct{ NodeName string }
	Status struct{ Phase string }
}

// progress asks for the pods of this pass. One that runs has done what it is for, in its
// init container; it says so still when its node has died since, which readiness does not.
func (u clusterUninstall) progress(ctx context.Context, set *uninstallSet) (p progress, err error) {
	now, err := u.look(ctx, set.key())
	if err != nil {
		return p, err
	}
	pods, err := u.cluster.List(ctx, kubeapi.Pods, set.pods())
	if err != nil {
		return p, err
	}
	p = progress{known: now.seen(), desired: now.Status.DesiredNumberScheduled, done: map[string]bool{}}
	for _, o := range pods {
		var one pod
		if err := json.Unmarshal(o.JSON, &one); err != nil {
			return p, err
		}
		switch {
		case one.Metadata.DeletionTimestamp != "" || one.Metadata.Annotations[runAnnotation] != set.run:
			one.Status.Phase = "of an earlier pass"
			p.rest = append(p.rest, one)
		case one.Status.Phase == "Running":
			p.done[one.Spec.NodeName] = true
		default:
			p.rest = append(p.rest, one)
		}
	}
	return p, nil
}

func (u clusterUninstall) look(ctx context.Context, key kubeapi.Key) (now daemonSet, err error) {
	o, err := u.cluster.Get(ctx, kubeapi.DaemonSets, key)
	if err != nil {
		return now, err
	}
	return now, json.Unmarshal(o.JSON, &now)
}

// unfinished says which nodes are not done.
func (u clusterUninstall) unfinished(set *uninstallSet) error {
	hint := fmt.Sprintf("'kubectl -n %s logs daemonset/%s --all-containers' says why; it stays, and goes on with nodes that come back. Run this again, or delete the DaemonSet to leave them as they are",
		set.Metadata.Namespace, set.Metadata.Name)
	ctx, cancel := context.WithTimeout(context.Background(), u.every+5*time.Second)
	defer cancel()
	p, err := u.progress(ctx, set)
	if err != nil {
		return hinted(fmt.Errorf("DaemonSet %s: after %v it is not known which nodes are done: %w", set.key(), u.wait, err), hint)
	}
	left := ""
	for _, pod := range p.rest {
		if !p.done[pod.Spec.NodeName] {
			left += fmt.Sprintf("\n  node %s%s: pod %s is %s", pod.Spec.NodeName, u.nodeAway(ctx, pod.Spec.NodeName), pod.Metadata.Name, pod.Status.Phase)
		}
	}
	if text := u.notMade(ctx, set); text != "" && len(p.done)+len(p.rest) < p.desired {
		left += "\n  not every node has a pod: " + text
	}
	return hinted(fmt.Errorf("DaemonSet %s: not every node is done after %v%s", set.key(), u.wait, left), hint)
}

// nodeAway says that a node is not there, in the words of its taints; "" when it is, or
// nobody says.
func (u clusterUninstall) nodeAway(ctx context.Context, name string) string {
	o, err := u.cluster.Get(ctx, kubeapi.Nodes, kubeapi.Key{Name: name})
	var node struct {
		Spec struct{ Taints []struct{ Key string } }
	}
	switch {
	case errors.Is(err, kubeapi.ErrNotFound):
		return " (deleted)"
	case err != nil || json.Unmarshal(o.JSON, &node) != nil:
		return ""
	}
	for _, taint := range node.Spec.Taints {
		if what, is := strings.CutPrefix(taint.Key, "node.kubernetes.io/"); is && (what == "not-ready" || what == "unreachable") {
			return " (" + what + ")"
		}
	}
	return ""
}

// notMade is the last reason why the controller could not make a pod, "" when it gives
// none: a quota, say, or Pod Security.
func (u clusterUninstall) notMade(ctx context.Context, set *uninstallSet) string {
	events, err := u.cluster.List(ctx, kubeapi.Events, kubeapi.Selector{Namespace: set.Metadata.Namespace,
		Fields: "involvedObject.kind=DaemonSet,involvedObject.name=" + set.Metadata.Name + ",reason=FailedCreate"})
	if err != nil {
		return ""
	}
	var last struct{ LastTimestamp, Message string }
	for _, o := range events {
		e := last
		if json.Unmarshal(o.JSON, &e) == nil && e.LastTimestamp >= last.LastTimestamp {
			last = e
		}
	}
	return last.Message
}
