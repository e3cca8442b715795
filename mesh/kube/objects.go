package kube

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/manifest"
)

// Objects are a cluster's resources for people who read and write them, as file.Directory
// has a directory's. Each is written for itself: an API server has nothing that would write
// all or none.
type Objects struct {
	Cluster *kubeapi.Cluster
	// Domain is what the full names of its Services end in; "": mesh.DefaultClusterDomain.
	Domain string
}

func key(id mesh.Identity) kubeapi.Key {
	return kubeapi.Key{Namespace: id.Namespace, Name: id.Name}
}

// List reads the resources of some kinds, none is all, in a namespace, "" in all: those that can
// be used, and what there is to say of each object. Those of kinds that may be read are there
// beside an error about others, which are forbidden or not in the API.
func (o Objects) List(ctx context.Context, of []string, namespace string) (all []*mesh.Resource, issues mesh.Issues, err error) {
	var unread []error
	for _, k := range kinds {
		if len(of) > 0 && !slices.Contains(of, k.Name) {
			continue
		}
		objects, err := o.Cluster.List(ctx, k, kubeapi.Selector{Namespace: namespace})
		if errors.Is(err, kubeapi.ErrForbidden) || errors.Is(err, kubeapi.ErrMissing) {
			unread = append(unread, err)
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
	return all, issues, errors.Join(unread...)
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

// Apply writes a resource whether it is there or not, in today's spelling (mesh.Normal). The
// issue is that the cluster has more of it then, where others wrote fields that are not named.
func (o Objects) Apply(ctx context.Context, r *mesh.Resource) (manifest.Change, mesh.Issues, error) {
	k := kindOf(r.Kind)
	wanted, err := manifest.Respelled(r)
	if err != nil {
		return manifest.Change{}, nil, err
	}
	text, _ := mesh.Normal(r)
	done, now, err := o.Cluster.Apply(ctx, k, text)
	change := manifest.Change{Identity: r.Identity(), Done: done}
	if err != nil {
		return change, nil, err
	}
	if is := decode(k, now).resource; is != nil && proto.Equal(is.Spec, wanted.Spec) {
		return change, nil, nil
	}
	return change, mesh.Issues{r.Issue(mesh.Warning, "spec", "",
		"has more in the cluster than here, which somebody else wrote ('kubectl get -o yaml --show-managed-fields' says who) and which stays; delete it and create it anew to have that gone")}, nil
}

// Would says what Apply would do, by what is there, without asking the server to try it.
func (o Objects) Would(ctx context.Context, r *mesh.Resource) (manifest.Change, error) {
	text, _ := mesh.Normal(r)
	done, err := o.Cluster.Would(ctx, kindOf(r.Kind), text)
	return manifest.Change{Identity: r.Identity(), Done: done}, err
}

// Delete takes a resource away.
func (o Objects) Delete(ctx context.Context, id mesh.Identity) (manifest.Change, error) {
	return manifest.Change{Identity: id, Done: "deleted"}, o.Cluster.Delete(ctx, kindOf(id.Kind), key(id))
}

// Read decodes what is to be written, with what there is to say of it and of what it means
// beside what the cluster has.
func (o Objects) Read(ctx context.Context, in []manifest.Stream) ([]*mesh.Resource, mesh.Issues, error) {
	parts, issues, err := manifest.Decode(in)
	var resources []*mesh.Resource
	var namespaces []string
	for _, p := range parts {
		for _, r := range p.Resources {
			resources, namespaces = append(resources, r), append(namespaces, r.Namespace)
		}
	}
	if err != nil || issues.HasErrors() {
		return resources, issues, err
	}
	sight, err := o.See(ctx, namespaces...)
	for _, r := range resources {
		err = cmp.Or(err, sight.missing[r.Kind])
	}
	if err != nil {
		return resources, issues, err
	}
	issues = append(append(issues, sight.News(resources)...), sight.NotJudged()...)
	issues.Sort()
	return resources, append(issues, respelled(resources)...), nil
}

// respelled says which resources are written in another spelling than they were given in.
func respelled(resources []*mesh.Resource) mesh.Issues {
	var all []string
	for _, r := range resources {
		if _, changed := mesh.Normal(r); len(changed) > 0 {
			all = append(all, r.Identity().String()+" ("+strings.Join(changed, ", ")+")")
		}
	}
	if len(all) == 0 {
		return nil
	}
	return mesh.Issues{{Severity: mesh.Notice, Message: "written in today's spelling: " + strings.Join(all, "; ")}}
}
