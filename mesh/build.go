package mesh

import (
	"net/netip"

	networking "istio.io/api/networking/v1alpha3"
)

// Options says what the resources leave open.
type Options struct {
	// Policy is the mesh's, for workloads whose Sidecar does not say.
	Policy OutboundPolicy
	// RootNamespace holds what applies to every namespace; default "istio-system".
	RootNamespace string
	// Partial means that there may be more resources elsewhere, so that a name
	// which nothing here registers is not worth a warning.
	Partial bool
	// Virtual gives hosts the virtual addresses by which an opaque connection says
	// which of them it is for (see package vip); it is called once for each
	// snapshot, with every host that wants some. nil: there are none, as where
	// nobody answers the workloads' DNS.
	Virtual func(hosts []string) map[string][]netip.Addr
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
	if opts.RootNamespace == "" {
		opts.RootNamespace = "istio-system"
	}
	s := &Snapshot{
		policy:    opts.Policy,
		root:      opts.RootNamespace,
		partial:   opts.Partial,
		rules:     make(ruleIndex),
		selectors: make(selectors),
		views:     make(map[viewKey]*View),
		clusters:  make(map[clusterKey]*Cluster),
	}
	var issues Issues
	s.resources, issues = unique(resources)
	for _, r := range s.resources {
		s.add(r)
	}
	s.assignVirtual(opts.Virtual)
	return s, issues
}

// unique leaves out, and reports, objects that are there already.
func unique(resources []*Resource) ([]*Resource, Issues) {
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

// add puts a resource's compiled form where it belongs.
func (s *Snapshot) add(r *Resource) {
	switch c := r.compile().(type) {
	case *service:
		s.services = append(s.services, c)
	case *virtualService:
		s.virtuals = append(s.virtuals, c)
		for _, from := range c.selectors {
			s.selectors.add(from)
		}
	case *rule:
		s.rules.add(r.Namespace, c)
		s.selectors.add(c.selector)
	case *sidecar:
		s.sidecars = append(s.sidecars, c)
	}
}

// compile does its work once, whatever number of snapshots the resource is part
// of: building after a change compiles what changed.
func (r *Resource) compile() any {
	r.once.Do(func() {
		switch spec := r.Spec.(type) {
		case *networking.ServiceEntry:
			r.compiled = compileService(r, spec)
		case *networking.VirtualService:
			r.compiled = compileVirtualService(r, spec)
		case *networking.DestinationRule:
			r.compiled = compileRule(r, spec)
		case *networking.Sidecar:
			r.compiled = compileSidecar(r, spec)
		}
	})
	return r.compiled
}
