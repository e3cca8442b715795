package main

import (
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
