package kube

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/manifest"
)

// Sight is what a cluster has, Services among it, as far as it may be seen.
type Sight struct {
	Issues mesh.Issues // of the resources, each for itself
	Unseen error       // why not all was seen; nil: it was

	missing map[string]error // by kind: the API has no such kind, and so there is none of it
	seen    []mesh.Place
	domain  string
}

// See reads all that the resources of some namespaces are to be judged beside. Who may not
// read every namespace sees those.
func (o Objects) See(ctx context.Context, namespaces ...string) (s Sight, err error) {
	s.domain, s.missing = o.Domain, map[string]error{}
	for _, k := range kinds {
		objects, err := o.visible(ctx, &s, k, namespaces)
		if errors.Is(err, kubeapi.ErrMissing) {
			s.missing[k.Name] = err
			continue
		}
		if err != nil {
			return s, err
		}
		for i, d := range decodeAll(k, objects) {
			s.Issues = append(s.Issues, d.issues...)
			if d.resource != nil {
				s.seen = append(s.seen, place(objects[i], d.resource))
			}
		}
	}
	objects, err := o.visible(ctx, &s, kubeapi.Services, namespaces)
	for _, object := range objects {
		var read service
		if json.Unmarshal(object.JSON, &read) != nil {
			continue
		}
		if r, _ := mesh.FromService(newServices().meaning(object.Key, &read), o.Domain); r != nil {
			s.seen = append(s.seen, place(object, r))
		}
	}
	slices.SortStableFunc(s.seen, func(a, b mesh.Place) int { return strings.Compare(a.Group, b.Group) })
	return s, err
}

// NotJudged says that not everything could be looked at, and which kinds there are none of.
func (s Sight) NotJudged() (all mesh.Issues) {
	if s.Unseen != nil {
		all = append(all, mesh.Issue{Severity: mesh.Notice, Message: "not judged beside all that the cluster has: " + s.Unseen.Error()})
	}
	for _, k := range kinds {
		if err := s.missing[k.Name]; err != nil {
			all = append(all, mesh.Issue{Severity: mesh.Notice, Message: err.Error()})
		}
	}
	return all
}

// visible lists a kind in all namespaces, or where that is forbidden in some.
func (o Objects) visible(ctx context.Context, s *Sight, k kubeapi.Kind, namespaces []string) ([]kubeapi.Object, error) {
	all, err := o.Cluster.List(ctx, k, kubeapi.Selector{})
	if !errors.Is(err, kubeapi.ErrForbidden) {
		return all, err
	}
	s.Unseen = err
	for _, n := range slices.Compact(slices.Sorted(slices.Values(namespaces))) { // each object once
		some, err := o.Cluster.List(ctx, k, kubeapi.Selector{Namespace: n})
		if err != nil && !errors.Is(err, kubeapi.ErrForbidden) {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// With lists what the cluster would have with some resources in it, the oldest first.
func (s Sight) With(resources ...*mesh.Resource) (all []*mesh.Resource) {
	instead := map[mesh.Identity]*mesh.Resource{}
	for _, r := range resources {
		instead[r.Identity()] = r
	}
	placed := map[*mesh.Resource]bool{}
	for _, p := range s.seen {
		r := instead[p.Resource.Identity()]
		if r == nil {
			r = p.Resource
		}
		placed[r] = true
		all = append(all, r)
	}
	for _, r := range resources {
		if !placed[r] {
			all = append(all, r) // a second one of the same name too: that is an error to tell of
		}
	}
	return all
}

// News is what there is to say of the resources together once these are among them, and is
// not to be said without them.
func (s Sight) News(resources []*mesh.Resource) mesh.Issues {
	return manifest.News(s.With(resources...), s.With(), mesh.Options{Partial: s.Unseen != nil, ClusterDomain: s.domain})
}
