package main

import (
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
	out     io.Writer
	wait    time.Duration
	every   time.Duration
}

func uninstallCluster(c *cobra.Command, kubeconfig, file string, wait time.Duration) error {
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
	return clusterUninstall{cluster, c.OutOrStdout(), wait, askNodesEvery}.run(c.Context(), set)
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
	text []byte // as JSON
}

// runAnnotation is on the pods of a run, with a value of that run's own.
const runAnnotation = "sluice.dev/run"

func (d *daemonSet) key() kubeapi.Key {
	return kubeapi.Key{Namespace: d.Metadata.Namespace, Name: d.Metadata.Name}
}

// readDaemonSet reads a manifest, which must say its namespace. Its pods are stamped, so
// that they are made anew where an earlier run left the same DaemonSet: a pod of that run is
// ready since then, whatever its node has come to.
func readDaemonSet(text []byte) (*daemonSet, error) {
	var object map[string]any
	err := yaml.Unmarshal(text, &object)
	d := &daemonSet{}
	if err == nil {
		inner(inner(inner(inner(object, "spec"), "template"), "metadata"), "annotations")[runAnnotation] = rand.Text()
		d.text, err = json.Marshal(object)
	}
	if err == nil {
		err = json.Unmarshal(d.text, d)
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

// run makes the DaemonSet, waits until every node is done, and deletes it.
func (u clusterUninstall) run(ctx context.Context, set *daemonSet) error {
	done, err := u.cluster.Apply(ctx, kubeapi.DaemonSets, set.text)
	if err != nil {
		return err
	}
	fmt.Fprintf(u.out, "DaemonSet %s %s\n", set.key(), done)
	waiting, cancel := context.WithTimeout(ctx, u.wait)
	defer cancel()
	if err := u.await(waiting, set); err != nil {
		return errors.Join(err, ctx.Err())
	}
	if err := u.cluster.Delete(ctx, kubeapi.DaemonSets, set.key()); err != nil && !errors.Is(err, kubeapi.ErrNotFound) {
		return err
	}
	fmt.Fprintf(u.out, "DaemonSet %s deleted\n", set.key())
	return nil
}

// await waits until every node is done. An API server that is away meanwhile is asked
// again.
func (u clusterUninstall) await(ctx context.Context, set *daemonSet) error {
	tick := time.NewTicker(u.every)
	defer tick.Stop()
	said, away := "", error(nil)
	for {
		now, err := u.look(ctx, set)
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

func (u clusterUninstall) look(ctx context.Context, set *daemonSet) (*daemonSet, error) {
	o, err := u.cluster.Get(ctx, kubeapi.DaemonSets, set.key())
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
	var labels []string
	for k, v := range set.Spec.Selector.MatchLabels {
		labels = append(labels, k+"="+v)
	}
	slices.Sort(labels)
	pods, err := u.cluster.List(ctx, kubeapi.Pods, kubeapi.Selector{Namespace: set.Metadata.Namespace, Labels: strings.Join(labels, ",")})
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
