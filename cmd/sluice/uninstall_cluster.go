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

// clusterUninstall takes the plugin out of all nodes, by a DaemonSet of which each pod is
// ready when its node is done.
type clusterUninstall struct {
	cluster *kubeapi.Cluster
	agents  string // the DaemonSet that nothing may come back of; "": none
	out     io.Writer
	wait    time.Duration
	every   time.Duration
}

func uninstallCluster(c *cobra.Command, kubeconfig, file, agents string, wait time.Duration) error {
	if file == "" {
		return usage(errors.New("--cluster: needs --daemonset: the DaemonSet that runs 'sluice uninstall' on each node"), "the Helm chart brings one, and a hook that does all this at 'helm uninstall'")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("--daemonset: %w", err)
	}
	set, err := readDaemonSet(text)
	if err != nil {
		return fmt.Errorf("--daemonset %s: %w", file, err)
	}
	cluster, err := kubeapi.Connect(kubeconfig, "")
	if err != nil {
		return err
	}
	return clusterUninstall{cluster, agents, c.OutOrStdout(), wait, askNodesEvery}.run(c.Context(), set)
}

// daemonSet is what is read of one.
type daemonSet struct {
	Kind     string
	Metadata struct {
		Namespace, Name string
		Generation      int64
	}
	Spec struct {
		Selector struct{ MatchLabels map[string]string }
	}
	Status struct {
		ObservedGeneration     int64
		DesiredNumberScheduled int
		UpdatedNumberScheduled int
		NumberReady            int
	}
	object map[string]any
}

// runAnnotation is on the pods of a pass, with a value of that pass's own. What begins with
// sluice.dev/ is for people, and the chart's admission policy refuses what it does not know.
const runAnnotation = "uninstall.sluice.dev/run"

func (d *daemonSet) key() kubeapi.Key {
	return kubeapi.Key{Namespace: d.Metadata.Namespace, Name: d.Metadata.Name}
}

// readDaemonSet reads a manifest, which must say its namespace.
func readDaemonSet(manifest []byte) (*daemonSet, error) {
	var object map[string]any
	err := yaml.Unmarshal(manifest, &object)
	d := &daemonSet{object: object}
	var text []byte
	if err == nil {
		text, err = json.Marshal(object)
	}
	if err == nil {
		err = json.Unmarshal(text, d)
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

// labels select its pods.
func (d *daemonSet) labels() string {
	var labels []string
	for k, v := range d.Spec.Selector.MatchLabels {
		labels = append(labels, k+"="+v)
	}
	slices.Sort(labels)
	return strings.Join(labels, ",")
}

// stamped is the manifest with pods that are made anew, whoever made such a DaemonSet before:
// a pod of then is ready since, whatever its node has come to.
func (d *daemonSet) stamped() ([]byte, error) {
	inner(inner(inner(inner(d.object, "spec"), "template"), "metadata"), "annotations")[runAnnotation] = rand.Text()
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

// run makes the DaemonSet, waits until every node is done, has each do it again, since
// agents and installers may have started anew while others were waited for, deletes those,
// and then what it made.
func (u clusterUninstall) run(ctx context.Context, set *daemonSet) error {
	waiting, cancel := context.WithTimeout(ctx, u.wait)
	defer cancel()
	for range 2 {
		if err := u.pass(ctx, waiting, set); err != nil {
			return err
		}
	}
	if u.agents != "" {
		if err := u.end(waiting, kubeapi.Key{Namespace: set.Metadata.Namespace, Name: u.agents}); err != nil {
			return err
		}
	}
	return u.delete(ctx, set.key())
}

// pass has every node do it.
func (u clusterUninstall) pass(ctx, waiting context.Context, set *daemonSet) error {
	text, err := set.stamped()
	if err != nil {
		return err
	}
	done, err := u.cluster.Apply(waiting, kubeapi.DaemonSets, text)
	if err != nil {
		return err
	}
	fmt.Fprintf(u.out, "DaemonSet %s %s\n", set.key(), done)
	if err := u.await(waiting, set); err != nil {
		return errors.Join(err, ctx.Err())
	}
	return nil
}

func (u clusterUninstall) delete(ctx context.Context, key kubeapi.Key) error {
	if err := u.cluster.Delete(ctx, kubeapi.DaemonSets, key); err != nil && !errors.Is(err, kubeapi.ErrNotFound) {
		return err
	}
	fmt.Fprintf(u.out, "DaemonSet %s deleted\n", key)
	return nil
}

// end deletes a DaemonSet and waits until its pods are gone.
func (u clusterUninstall) end(ctx context.Context, key kubeapi.Key) error {
	set, err := u.look(ctx, key)
	if errors.Is(err, kubeapi.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := u.delete(ctx, key); err != nil {
		return err
	}
	tick := time.NewTicker(u.every)
	defer tick.Stop()
	for {
		pods, err := u.cluster.List(ctx, kubeapi.Pods, kubeapi.Selector{Namespace: key.Namespace, Labels: set.labels()})
		if err == nil && len(pods) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("DaemonSet %s: deleted, and after %v %s not gone: %w", key, u.wait, count(len(pods), "pod"), cmp.Or(err, context.Cause(ctx)))
		}
	}
}

// await waits until every node is done. An API server that is away meanwhile is asked
// again.
func (u clusterUninstall) await(ctx context.Context, set *daemonSet) error {
	tick := time.NewTicker(u.every)
	defer tick.Stop()
	said, away := "", error(nil)
	for {
		now, err := u.look(ctx, set.key())
		switch {
		case errors.Is(err, kubeapi.ErrNotFound):
			return fmt.Errorf("DaemonSet %s: somebody deleted it before every node was done", set.key())
		case errors.Is(err, kubeapi.ErrForbidden):
			return err
		case err != nil && ctx.Err() == nil:
			away = err
		case err == nil:
			away = nil
			s := now.Status
			known := s.ObservedGeneration >= now.Metadata.Generation && s.UpdatedNumberScheduled == s.DesiredNumberScheduled
			if text := fmt.Sprintf("%d of %s done", s.NumberReady, count(s.DesiredNumberScheduled, "node")); known && text != said {
				fmt.Fprintln(u.out, text)
				said = text
			}
			if known && s.NumberReady == s.DesiredNumberScheduled {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return u.unfinished(set, away)
		}
	}
}

func (u clusterUninstall) look(ctx context.Context, key kubeapi.Key) (*daemonSet, error) {
	o, err := u.cluster.Get(ctx, kubeapi.DaemonSets, key)
	if err != nil {
		return nil, err
	}
	now := &daemonSet{}
	return now, json.Unmarshal(o.JSON, now)
}

// unfinished says which nodes are not done.
func (u clusterUninstall) unfinished(set *daemonSet, away error) error {
	hint := fmt.Sprintf("'kubectl -n %s logs daemonset/%s --all-containers' says why; it stays, and goes on with nodes that come back. Run this again, or delete the DaemonSet to leave them as they are",
		set.Metadata.Namespace, set.Metadata.Name)
	if away != nil {
		return hinted(fmt.Errorf("DaemonSet %s: after %v it is not known which nodes are done: %w", set.key(), u.wait, away), hint)
	}
	ctx, cancel := context.WithTimeout(context.Background(), u.every+5*time.Second)
	defer cancel()
	pods, err := u.cluster.List(ctx, kubeapi.Pods, kubeapi.Selector{Namespace: set.Metadata.Namespace, Labels: set.labels()})
	left := ""
	for _, p := range pods {
		var pod struct {
			Spec   struct{ NodeName string }
			Status struct{ Phase string }
		}
		if json.Unmarshal(p.JSON, &pod) == nil && pod.Status.Phase != "Running" {
			left += fmt.Sprintf("\n  node %s: pod %s is %s", pod.Spec.NodeName, p.Name, pod.Status.Phase)
		}
	}
	if err != nil {
		left = "; its pods cannot be listed: " + err.Error()
	}
	return hinted(fmt.Errorf("DaemonSet %s: not every node is done after %v%s", set.key(), u.wait, left), hint)
}
