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

// Objects are a cluster's resources for people who read and write them, as file.Directory
// has a directory's. Each is written for itself: an API server has nothing that would write
// all or none.
type Objects struct{ Cluster *kubeapi.Cluster }

func key(id mesh.Identity) kubeapi.Key {
	return kubeapi.Key{Namespace: id.Namespace, Name: id.Name}
}

// List reads the resources of a kind, "" of all, in a namespace, "" in all: those that can
// be used, and what there is to say of each object. Those of kinds that may be read are there
// beside an error about others.
func (o Objects) List(ctx context.Context, kind, namespace string) (all []*mesh.Resource, issues mesh.Issues, err error) {
	var forbidden []error
	for _, k := range kinds {
		if kind != "" && k.Name != kind {
			continue
		}
		objects, err := o.Cluster.List(ctx, k, kubeapi.Selector{Namespace: namespace})
		if errors.Is(err, kubeapi.ErrForbidden) {
			forbidden = append(forbidden, err)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		for _, d := range decodeAll(k, objects) {
			issues = append(issues, d.issues...)
			if d.resource != nil {
				all = append(all, d.resource)
			}
		}
	}
	return all, issues, errors.Join(forbidden...)
}

// Get reads one. It is nil where it is there and cannot be used, for the issues' reasons.
func (o Objects) Get(ctx context.Context, id mesh.Identity) (*mesh.Resource, mesh.Issues, error) {
	k := kindOf(id.Kind)
	object, err := o.Cluster.Get(ctx, k, key(id))
	if err != nil {
		return nil, nil, err
	}
	d := decode(k, object)
	return d.resource, d.issues, nil
}

// Create writes a resource that is not there yet, in today's spelling (mesh.Normal).
func (o Objects) Create(ctx context.Context, r *mesh.Resource) (manifest.Change, error) {
	text, _ := mesh.Normal(r)
	return manifest.Change{Identity: r.Identity(), Done: "created"}, o.Cluster.Create(ctx, kindOf(r.Kind), text)
}

// Apply writes a resource whether it is there or not, in today's spelling (mesh.Normal). It
// gives the resource as the cluster has it then, which is more where others wrote fields
// that are not named; nil: it cannot be used so.
func (o Objects) Apply(ctx context.Context, r *mesh.Resource) (manifest.Change, *mesh.Resource, error) {
	k := kindOf(r.Kind)
	text, _ := mesh.Normal(r)
	done, now, err := o.Cluster.Apply(ctx, k, text)
	change := manifest.Change{Identity: r.Identity(), Done: done}
	if err != nil {
		return change, nil, err
	}
	return change, decode(k, now).resource, nil
}

// Would says what Apply would do, by what is there, without asking the server to try it.
func (o Objects) Would(ctx context.Context, r *mesh.Resource) (manifest.Change, error) {
	c := manifest.Change{Identity: r.Identity(), Done: "configured"}
	before, _, err := o.Get(ctx, r.Identity())
	switch {
	case errors.Is(err, kubeapi.ErrNotFound):
		c.Done, err = "created", nil
	case err == nil && manifest.Equal(before, manifest.Normal(r)):
		c.Done = "unchanged"
	}
	return c, err
}

// Delete takes a resource away.
func (o Objects) Delete(ctx context.Context, id mesh.Identity) (manifest.Change, error) {
	return manifest.Change{Identity: id, Done: "deleted"}, o.Cluster.Delete(ctx, kindOf(id.Kind), key(id))
}

// Sight is what a cluster has, Services among it, as far as it may be seen.
type Sight struct {
	Issues mesh.Issues // of the resources, each for itself
	Unseen error       // why not all was seen; nil: it was
	seen   []mesh.Place
}

// See reads all that the resources of some namespaces are to be judged beside. Who may not
// read every namespace sees those.
func (o Objects) See(ctx context.Context, namespaces ...string) (s Sight, err error) {
	for _, k := range kinds {
		objects, err := o.visible(ctx, &s, k, namespaces)
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
		if r, _ := mesh.FromService(newServices().meaning(object.Key, &read), mesh.DefaultClusterDomain); r != nil {
			s.seen = append(s.seen, place(object, r))
		}
	}
	slices.SortStableFunc(s.seen, func(a, b mesh.Place) int { return strings.Compare(a.Group, b.Group) })
	return s, err
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
	return manifest.News(s.With(resources...), s.With(), mesh.Options{Partial: s.Unseen != nil})
}
