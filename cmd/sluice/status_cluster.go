package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/kubeapi"
)

// ownNamespace is where the chart's notes and the Kustomize base put sluice.
const ownNamespace = "sluice-system"

// ofSluice selects what the chart has made.
const ofSluice = "app.kubernetes.io/name=sluice"

// nodes shows on how many nodes of a cluster sluice is ready, and what is the matter with
// the rest: that is an error.
func (o statusOptions) nodes(c *cobra.Command) error {
	cluster, err := kubeapi.Connect(o.kubeconfig, "")
	if err != nil {
		return err
	}
	o.namespace = cmp.Or(o.namespace, os.Getenv("POD_NAMESPACE"), ownNamespace)
	sets, err := cluster.ListWhole(c.Context(), kubeapi.DaemonSets, kubeapi.Selector{Namespace: o.namespace, Labels: ofSluice})
	if err != nil {
		return err
	}
	if len(sets) == 0 {
		return hinted(fmt.Errorf("namespace %q: has no DaemonSet of sluice", o.namespace), "--namespace names the one that sluice was installed into")
	}
	rows := [][]string{{"DAEMONSET", "NODES", "READY", "UP TO DATE"}}
	var errs []error
	var trouble []string
	for _, set := range sets {
		var d daemonSet
		if err := json.Unmarshal(set.JSON, &d); err != nil {
			return err
		}
		s := d.Status
		rows = append(rows, []string{d.Metadata.Name, strconv.Itoa(s.DesiredNumberScheduled), strconv.Itoa(s.NumberReady), strconv.Itoa(s.UpdatedNumberScheduled)})
		switch {
		case !d.seen():
			errs = append(errs, fmt.Errorf("DaemonSet %s: was changed a moment ago", d.Metadata.Name))
		// A node counts as ready by its oldest pod, which is the one before while both are there.
		case s.NumberReady < s.DesiredNumberScheduled || s.UpdatedNumberScheduled < s.DesiredNumberScheduled:
			if s.NumberReady < s.DesiredNumberScheduled {
				errs = append(errs, fmt.Errorf("DaemonSet %s: is ready on %d of %s", d.Metadata.Name, s.NumberReady, count(s.DesiredNumberScheduled, "node")))
			} else {
				errs = append(errs, fmt.Errorf("DaemonSet %s: is up to date on %d of %s", d.Metadata.Name, s.UpdatedNumberScheduled, count(s.DesiredNumberScheduled, "node")))
			}
			more, err := unready(c, cluster, d)
			if err != nil {
				return err
			}
			trouble = append(trouble, more...)
		}
	}
	if err := table(c.OutOrStdout(), rows); err != nil {
		return err
	}
	for i, text := range trouble {
		if i == 0 {
			fmt.Fprintln(c.OutOrStdout())
		}
		fmt.Fprintln(c.OutOrStdout(), printableUpTo(text, maxFact))
	}
	if len(errs) > 0 {
		return hinted(errors.Join(errs...), "'kubectl -n "+o.namespace+" describe pod NAME' has the probes' words as Events, and the container's log has more")
	}
	return nil
}

// unready are a DaemonSet's pods that are not ready, with the reason.
func unready(c *cobra.Command, cluster *kubeapi.Cluster, d daemonSet) (lines []string, err error) {
	pods, err := cluster.ListWhole(c.Context(), kubeapi.Pods, d.pods())
	for _, p := range pods {
		var pod struct {
			Spec   struct{ NodeName string }
			Status struct {
				Phase      string
				Conditions []struct{ Type, Status, Message string }
			}
		}
		if err := json.Unmarshal(p.JSON, &pod); err != nil {
			return nil, err
		}
		ready, why := false, pod.Status.Phase
		for _, condition := range pod.Status.Conditions {
			switch {
			case condition.Type == "Ready" && condition.Status == "True":
				ready = true
			case (condition.Type == "Ready" || condition.Type == "PodScheduled") && condition.Message != "":
				why = condition.Message
			}
		}
		if !ready {
			lines = append(lines, fmt.Sprintf("node %s: pod %s: %s", cmp.Or(pod.Spec.NodeName, "-"), p.Name, why))
		}
	}
	return lines, err
}
