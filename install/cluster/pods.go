package cluster

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/kubeapi"
)

// daemonSet is what is read of one.
type daemonSet struct {
	Kind     string
	Metadata struct {
		Namespace, Name string
		Generation      int64
		Annotations     map[string]string
	}
	Spec struct {
		Selector struct{ MatchLabels map[string]string }
	}
	Status struct {
		ObservedGeneration     int64
		DesiredNumberScheduled int
		NumberReady            int
		UpdatedNumberScheduled int
	}
}

func (d daemonSet) key() kubeapi.Key {
	return kubeapi.Key{Namespace: d.Metadata.Namespace, Name: d.Metadata.Name}
}

// seen: its status is that of what it says now.
func (d daemonSet) seen() bool { return d.Status.ObservedGeneration >= d.Metadata.Generation }

// pods selects its pods.
func (d daemonSet) pods() kubeapi.Selector {
	var labels []string
	for k, v := range d.Spec.Selector.MatchLabels {
		labels = append(labels, k+"="+v)
	}
	slices.Sort(labels)
	return kubeapi.Selector{Namespace: d.Metadata.Namespace, Labels: strings.Join(labels, ",")}
}

// pod is what is read of a DaemonSet's pod.
type pod struct {
	Metadata struct {
		Name              string
		Annotations       map[string]string
		DeletionTimestamp string
		OwnerReferences   []struct{ Kind, Name string }
	}
	Spec   struct{ NodeName string }
	Status struct {
		Phase      string
		Conditions []struct{ Type, Status, Message string }
	}
}

// of says that a DaemonSet of that name made the pod.
func (p pod) of(set string) bool {
	return slices.ContainsFunc(p.Metadata.OwnerReferences, func(o struct{ Kind, Name string }) bool {
		return o.Kind == kubeapi.DaemonSets.Name && o.Name == set
	})
}

// unready says why the pod is not ready, "" when it is.
func (p pod) unready() string {
	why := p.Status.Phase
	for _, c := range p.Status.Conditions {
		switch {
		case c.Type == "Ready" && c.Status == "True":
			return ""
		case (c.Type == "Ready" || c.Type == "PodScheduled") && c.Message != "":
			why = c.Message
		}
	}
	return cmp.Or(why, "of an unknown phase")
}

// read decodes what the API server has.
func read[T any](objects []kubeapi.Object) ([]T, error) {
	all := make([]T, len(objects))
	for i, o := range objects {
		if err := json.Unmarshal(o.JSON, &all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func nodes(n int) string {
	if n == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}
