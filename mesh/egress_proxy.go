package mesh

import networking "istio.io/api/networking/v1alpha3"

// EgressProxy is where a workload under ALLOW_ANY sends what nobody registers
// (Sidecar outboundTrafficPolicy.egressProxy).
type EgressProxy struct {
	Plain *Cluster // for HTTP requests and opaque bytes
	TLS   *Cluster // for connections that are TLS already
}

// For is the cluster for a connection, which may be TLS already.
func (p *EgressProxy) For(secure bool) *Cluster {
	if secure {
		return p.TLS
	}
	return p.Plain
}

// compileEgressProxy gives nil where there is none.
func compileEgressProxy(p *networking.OutboundTrafficPolicy) *destination {
	if p.GetEgressProxy() == nil || p.GetMode() != networking.OutboundTrafficPolicy_ALLOW_ANY {
		return nil
	}
	d := compileDestination(0, p.EgressProxy, 1)
	return &d
}

func (v *View) egressProxy(c *sidecar) *EgressProxy {
	if c == nil || c.egress == nil {
		return nil
	}
	d := derivation{View: v}
	return &EgressProxy{
		Plain: d.destination(*c.egress, c.namespace, 0, false),
		TLS:   d.destination(*c.egress, c.namespace, 0, true),
	}
}
