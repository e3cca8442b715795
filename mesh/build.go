package mesh

import networking "istio.io/api/networking/v1alpha3"

// Options says what the resources leave open.
type Options struct {
	// Policy is the mesh's, for workloads whose Sidecar does not say.
	Policy OutboundPolicy
	// RootNamespace holds what applies to every namespace; default "istio-system".
	RootNamespace string
	// Partial means that there may be more resources elsewhere, so that a name
	// which nothing here registers is not worth a warning.
	Partial bool
}

// Build compiles resources, the oldest first: where two of them claim the same
// thing the earlier one has it. Each is compiled for itself; what they mean for a
// workload is worked out when its view is first asked for.
func Build(resources []*Resource, opts Options) (*Snapshot, Issues) {
	if opts.RootNamespace == "" {
		opts.RootNamespace = "istio-system"
	}
	s := &Snapshot{
		policy:   opts.Policy,
		root:     opts.RootNamespace,
		rules:    make(ruleIndex),
		views:    make(map[viewKey]*View),
		clusters: make(map[clusterKey]*Cluster),
	}
	var issues Issues
	s.resources, issues = unique(resources)
	for _, r := range s.resources {
		s.compile(r)
	}
	issues = append(issues, s.conflicts(opts.Partial)...)
	issues.Sort()
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

func (s *Snapshot) compile(r *Resource) {
	switch spec := r.Spec.(type) {
	case *networking.ServiceEntry:
		s.services = append(s.services, compileService(r, spec))
	case *networking.VirtualService:
		s.virtuals = append(s.virtuals, compileVirtualService(r, spec))
	case *networking.DestinationRule:
		s.rules.add(r.Namespace, compileRule(r, spec))
	case *networking.Sidecar:
		s.sidecars = append(s.sidecars, compileSidecar(r, spec))
	}
}
