package mesh

import (
	"net/netip"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/sluice-cni/sluice/internal/spread"
	"github.com/sluice-cni/sluice/vip"
)

// Options says what the resources leave open.
type Options struct {
	// Policy is the mesh's, for workloads whose Sidecar does not say.
	Policy OutboundPolicy
	// RootNamespace holds what applies to every namespace; default "istio-system".
	RootNamespace string
	// ClusterDomain is what the full names of services end in; default "cluster.local".
	ClusterDomain string
	// Partial means that there may be more resources elsewhere, so that a name
	// which nothing here registers is not worth a warning.
	Partial bool
	// Virtual gives hosts the virtual addresses by which an opaque connection says
	// which of them it is for (see package vip); it is called
	// whenever other hosts want some, or of other namespaces, with all that do, in order. A host
	// that it leaves out has none. nil: there are none, as where nobody answers the workloads' DNS.
	Virtual func([]vip.Wanted) map[string][]netip.Addr
}

// Build compiles resources, the oldest first: where two of them claim the same
// thing the earlier one has it. Each is compiled for itself; what they mean for a
// workload is worked out when its view is first asked for. The issues are what
// Assemble and Check say.
func Build(resources []*Resource, opts Options) (*Snapshot, Issues) {
	s, issues := Assemble(resources, opts)
	issues = append(issues, s.Check()...)
	issues.Sort()
	return s, issues
}

// Assemble is Build without the look at all resources together, which takes most of
// its time; it says only which objects are there twice, and left out.
func Assemble(resources []*Resource, opts Options) (*Snapshot, Issues) {
	resources, issues := eachOnce(resources)
	places := make([]Place, len(resources))
	for i, r := range resources {
		places[i] = Place{Resource: r, Position: i}
	}
	return NewIndex(opts).Change(nil, places), issues
}

// eachOnce leaves out, and reports, objects that are there already.
func eachOnce(resources []*Resource) ([]*Resource, Issues) {
	var issues Issues
	out := make([]*Resource, 0, len(resources))
	first := make(map[Identity]*Resource, len(resources))
	for _, r := range resources {
		if other := first[r.Identity()]; other != nil {
			issues = append(issues, DuplicateIssue(r, other))
			continue
		}
		first[r.Identity()] = r
		out = append(out, r)
	}
	return out, issues
}

// compileAll compiles on as many processors as there are what is worth it.
func compileAll(places []Place) []any {
	out := make([]any, len(places))
	spread.Over(len(places), 1000, func(i int) { out[i] = compile(places[i]) })
	return out
}

// compile gives the compiled form of a resource in its place: a *service,
// *virtualService, *rule or *sidecar.
func compile(p Place) any {
	var out interface{ place(rank) }
	switch r := p.Resource; spec := r.Spec.(type) {
	case *networking.ServiceEntry:
		out = compileService(r, spec)
	case *networking.VirtualService:
		out = compileVirtualService(r, spec)
	case *networking.DestinationRule:
		out = compileRule(r, spec)
	case *networking.Sidecar:
		out = compileSidecar(r, spec)
	default:
		return nil
	}
	out.place(p.rank())
	return out
}
