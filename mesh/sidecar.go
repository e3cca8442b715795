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
	labels    map[string]string // empty: every workload
	policy    *OutboundPolicy   // nil: the mesh's
	egress    *destination      // of what nobody registers; nil: where it was going
	imports   []hostImport
	filtered  bool // false: everything exported is visible
}

// hostImport is one `namespace/host` of egress[].hosts.
type hostImport struct{ namespace, host string }

func compileSidecar(r *Resource, spec *networking.Sidecar) *sidecar {
	out := &sidecar{
		resource:  r,
		namespace: r.Namespace,
		labels:    spec.GetWorkloadSelector().GetLabels(),
		egress:    compileEgressProxy(spec.OutboundTrafficPolicy),
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
			out.imports = append(out.imports, hostImport{namespace, canonicalHost(host)})
		}
	}
	return out
}

// imports says whether a workload in client sees a host of a namespace.
func (c *sidecar) sees(client, namespace, host string, match func(pattern, host string) bool) bool {
	if c == nil || !c.filtered {
		return true
	}
	for _, i := range c.imports {
		from := i.namespace
		if from == "." {
			from = client
		}
		if (from == "*" || from == namespace) && match(i.host, host) {
			return true
		}
	}
	return false
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
