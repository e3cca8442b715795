package mesh

import (
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// sidecar is a compiled Sidecar.
type sidecar struct {
	rank
	resource  *Resource
	namespace string
	labels    map[string]string  // empty: every workload
	policy    *OutboundPolicy    // nil: the mesh's
	egress    *destination       // of what nobody registers; nil: where it was going
	imports   map[string]hostSet // egress[].hosts, by the namespace before the slash: "*" and "." among them
	filtered  bool               // false: everything exported is visible
}

func compileSidecar(r *Resource, spec *networking.Sidecar) *sidecar {
	out := &sidecar{
		resource:  r,
		namespace: r.Namespace,
		labels:    spec.GetWorkloadSelector().GetLabels(),
		egress:    compileEgressProxy(spec.OutboundTrafficPolicy),
		imports:   map[string]hostSet{},
		filtered:  len(spec.Egress) > 0,
	}
	if p := spec.OutboundTrafficPolicy; p != nil {
		policy := RegistryOnly
		if p.Mode == networking.OutboundTrafficPolicy_ALLOW_ANY {
			policy = AllowAny
		}
		out.policy = &policy
	}
	for _, egress := range spec.Egress {
		for _, text := range egress.Hosts {
			namespace, host, _ := strings.Cut(text, "/")
			if _, some := out.imports[namespace]; !some {
				out.imports[namespace] = newHostSet()
			}
			out.imports[namespace].add(canonicalHost(host), 0)
		}
	}
	return out
}

// sees says whether a workload in client sees a host of a namespace: match is
// hostSet.covers, or hostSet.meets where some of the host's names will do.
func (c *sidecar) sees(client, namespace, host string, match func(hostSet, string) bool) bool {
	if c == nil || !c.filtered {
		return true
	}
	from := func(namespace string) bool {
		hosts, some := c.imports[namespace]
		return some && match(hosts, host)
	}
	return from(namespace) || from("*") || namespace == client && from(".")
}

// sidecarFor picks the Sidecar of a workload: its namespace's with a selector that
// fits, else its namespace's without one, else the root namespace's without one.
func (s *Snapshot) sidecarFor(w Workload) *sidecar {
	var own, root *sidecar
	for _, c := range s.sidecars {
		switch {
		case c.namespace == w.Namespace && len(c.labels) > 0:
			if hasLabels(w.Labels, c.labels) {
				return c
			}
		case c.namespace == w.Namespace && own == nil:
			own = c
		case c.namespace == s.root && len(c.labels) == 0 && root == nil:
			root = c
		}
	}
	if own != nil {
		return own
	}
	return root
}
