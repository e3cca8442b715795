package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/kubeapi"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/kube"
	"github.com/sluice-cni/sluice/mesh/manifest"
	"github.com/sluice-cni/sluice/selection"
	"github.com/sluice-cni/sluice/selection/namespaces"
)

// clusterKeeper is a cluster, by its API server.
type clusterKeeper struct {
	c       *cobra.Command
	cluster *kubeapi.Cluster
	about   *string // the object that the API server is asked about
}

// connect finds the cluster that the command line or kubectl's own settings name.
func connect(c *cobra.Command) (keeper, error) {
	cluster, err := kubeapi.ConnectAsKubectl(flagValue(c, "kubeconfig"), flagValue(c, "context"))
	if err != nil {
		return nil, hinted(err, "'kubectl config get-contexts' lists what there is; --config names a directory instead")
	}
	about := cluster.Name()
	k := clusterKeeper{c: c, about: &about}
	k.cluster, err = cluster.WithWarnings(func(text string) { fmt.Fprintf(c.ErrOrStderr(), "warning: %s: %s\n", *k.about, text) })
	return k, err
}

func (k clusterKeeper) place() string { return "the cluster " + k.cluster.Name() }

func (k clusterKeeper) namespace() string {
	if n := flagValue(k.c, "namespace"); n != "" {
		return n
	}
	return k.cluster.Namespace()
}

func (k clusterKeeper) ofThisMachine() bool { return false }

func (k clusterKeeper) shown() string { return k.cluster.Namespace() }

// objects are the cluster's, where nothing is kept in a dry run.
func (k clusterKeeper) objects(dryRun string) kube.Objects {
	objects := kube.Objects{Cluster: k.cluster, Domain: flagValue(k.c, "cluster-domain")}
	if dryRun != "" {
		objects.Cluster = k.cluster.DryRun()
	}
	return objects
}

func (k clusterKeeper) create(dryRun string, in []manifest.Stream) error {
	to := k.objects(dryRun)
	create := to.Create
	if dryRun == dryRunClient {
		create = func(_ context.Context, r *mesh.Resource) (manifest.Change, error) {
			return manifest.Change{Identity: r.Identity(), Done: "created"}, nil
		}
	}
	return k.write(dryRun, in, create)
}

func (k clusterKeeper) apply(dryRun string, in []manifest.Stream) error {
	to := k.objects(dryRun)
	apply := func(ctx context.Context, r *mesh.Resource) (manifest.Change, error) {
		change, issues, err := to.Apply(ctx, r)
		if dryRun == "" {
			printIssues(k.c, issues)
		}
		return change, err
	}
	if dryRun == dryRunClient {
		apply = to.Would
	}
	return k.write(dryRun, in, apply)
}

// write says what there is to say of streams before the API server is asked to take
// anything, and then writes one object after the other: others are written though one is
// refused, as with kubectl.
func (k clusterKeeper) write(dryRun string, in []manifest.Stream, write func(context.Context, *mesh.Resource) (manifest.Change, error)) error {
	resources, issues, err := k.objects("").Read(k.c.Context(), in)
	printIssues(k.c, issues)
	if err := cmp.Or(explainCluster(err), refusal(issues)); err != nil {
		return err
	}
	all := k.each(len(resources))
	for _, r := range resources {
		if !all.goesOn() {
			break
		}
		*k.about = r.Identity().String()
		change, err := write(k.c.Context(), r)
		all.asked(err)
		if err == nil {
			printChange(k.c, change, dryRunMark(dryRun))
		}
	}
	return all.end()
}

func (k clusterKeeper) delete(dryRun string, wanted []mesh.Identity) error {
	to := k.objects(dryRun)
	all := k.each(len(wanted))
	for i, id := range wanted {
		if !all.goesOn() {
			break
		}
		if slices.Contains(wanted[:i], id) {
			all.asked(nil)
			continue
		}
		*k.about = id.String()
		change, err := manifest.Change{Identity: id, Done: "deleted"}, error(nil)
		if dryRun == dryRunClient {
			_, _, err = to.Get(k.c.Context(), id)
		} else {
			change, err = to.Delete(k.c.Context(), id)
		}
		all.lookedFor(id, err)
		if err == nil {
			printChange(k.c, change, dryRunMark(dryRun))
		}
	}
	return all.end()
}

func (k clusterKeeper) list(kinds []string, namespace string) ([]*mesh.Resource, error) {
	all, issues, err := k.objects("").List(k.c.Context(), kinds, namespace)
	printIssues(k.c, issues.Of(mesh.Error))
	return all, explainCluster(err)
}

func (k clusterKeeper) named(wanted []mesh.Identity) (out []*mesh.Resource, err error) {
	all := k.each(len(wanted))
	for _, id := range wanted {
		if !all.goesOn() {
			break
		}
		r, issues, err := k.objects("").Get(k.c.Context(), id)
		if err == nil && r == nil {
			printIssues(k.c, issues)
			err = fmt.Errorf("%s: is there, and is not followed for what is said above; 'kubectl get -o yaml' shows it", id)
		}
		if err == nil {
			out = append(out, r)
		}
		all.lookedFor(id, err)
	}
	return out, all.end()
}

func (k clusterKeeper) all(others []*mesh.Resource) (reading, error) {
	namespaces := []string{k.namespace()}
	for _, r := range others {
		namespaces = append(namespaces, r.Namespace)
	}
	sight, err := k.objects("").See(k.c.Context(), namespaces...)
	return reading{sight.With(), sight.Issues, sight.NotJudged(), sight.Unseen == nil}, explainCluster(err)
}

// snapshot leaves out what cannot be used, as the agents do, and says so.
func (k clusterKeeper) snapshot(o mesh.Options) (*mesh.Snapshot, error) {
	sight, err := k.objects("").See(k.c.Context(), k.namespace())
	if err != nil {
		return nil, explainCluster(err)
	}
	printIssues(k.c, append(sight.Issues.Of(mesh.Error), sight.NotJudged()...))
	o.ClusterDomain = flagValue(k.c, "cluster-domain")
	snapshot, _ := mesh.Assemble(sight.With(), o) // a cluster has no object twice
	return snapshot, nil
}

// outbound is what the Namespace and the ConfigMap of the agents say; the files of a node are
// not asked.
func (k clusterKeeper) outbound(namespace string) (*mesh.OutboundPolicy, string) {
	name := policyMap()
	places := "Namespace " + namespace + " and ConfigMap " + name.String()
	of, err := k.object(kubeapi.Namespaces, kubeapi.Key{Name: namespace})
	configMap, other := k.object(kubeapi.ConfigMaps, name)
	value, by, bad := namespaces.Outbound(namespace, of, configMap)
	if err := errors.Join(err, other, bad); err != nil {
		printIssues(k.c, mesh.Issues{{Severity: mesh.Notice, Message: "outboundPolicy of " + places + ": " + strings.ReplaceAll(err.Error(), "\n", "; ")}})
	}
	policy, known := mesh.ParseOutboundPolicy(value)
	switch {
	case !known:
		return nil, "unless a Sidecar says otherwise: nothing of it is in " + places
	case by == of:
		return &policy, "by annotation " + selection.AnnotationOutboundPolicy + " of Namespace " + namespace
	}
	return &policy, "by ConfigMap " + name.String()
}

// object is one that need not be there.
func (k clusterKeeper) object(kind kubeapi.Kind, key kubeapi.Key) (*kubeapi.Object, error) {
	o, err := k.cluster.Get(k.c.Context(), kind, key)
	switch {
	case errors.Is(err, kubeapi.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &o, nil
}

// each is what became of objects, one after the other.
type each struct {
	c        *cobra.Command
	left     int
	missing  manifest.NotFoundError
	problems []error
}

func (k clusterKeeper) each(n int) *each { return &each{c: k.c, left: n} }

// goesOn says whether there is any use in asking for the next one.
func (e *each) goesOn() bool {
	return e.c.Context().Err() == nil && !errors.Is(errors.Join(e.problems...), kubeapi.ErrUnreachable)
}

// asked takes in what the API server said of one.
func (e *each) asked(err error) {
	e.left--
	if err != nil {
		e.problems = append(e.problems, err)
	}
}

// lookedFor is asked of one that should be there.
func (e *each) lookedFor(id mesh.Identity, err error) {
	if errors.Is(err, kubeapi.ErrNotFound) {
		e.missing.Objects = append(e.missing.Objects, id)
		err = nil
	}
	e.asked(err)
}

// end is the error of all, nil where there is none.
func (e *each) end() error {
	all := errors.Join(e.problems...)
	if ended := e.c.Context().Err(); ended != nil && !errors.Is(all, ended) {
		all = errors.Join(all, ended)
	}
	if e.left > 0 && all != nil {
		all = errors.Join(all, fmt.Errorf("%s not asked for after that", count(e.left, "object")))
	}
	switch {
	case errors.Is(all, kubeapi.ErrExists) && !errors.Is(all, kubeapi.ErrUnreachable):
		return hinted(all, again(e.c, "apply")+" replaces what is there")
	case all == nil && len(e.missing.Objects) > 0:
		first := e.missing.Objects[0] // whose namespace may be neither the context's nor --namespace
		return hinted(&e.missing, again(e.c, "get "+strings.ToLower(first.Kind)+" -n "+first.Namespace)+" lists what there is")
	case len(e.missing.Objects) > 0:
		all = errors.Join(all, &e.missing)
	}
	return explainCluster(all)
}

// explainCluster adds what to do about a cluster that does not answer, or has no place for
// resources.
func explainCluster(err error) error {
	switch {
	case errors.Is(err, kubeapi.ErrMissing):
		return hinted(err, "sluice's Helm chart brings the definitions, and so does Istio")
	case errors.Is(err, kubeapi.ErrUnreachable):
		return hinted(err, "does it run, and is it the one that is meant? --context names another of the kubeconfig, --config a directory instead")
	}
	return err
}
