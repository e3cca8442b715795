package mesh

import (
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

func (c *checker) sidecar(spec *networking.Sidecar) {
	if c.r.has("spec.workloadSelector") {
		c.labels("spec.workloadSelector.labels", spec.GetWorkloadSelector().GetLabels())
	}
	if len(spec.Egress)+len(spec.Ingress) == 0 && spec.OutboundTrafficPolicy == nil && spec.InboundConnectionPool == nil {
		c.error("spec", "", "says nothing; write egress or outboundTrafficPolicy")
	}
	if len(spec.Egress) > 1 {
		c.error("spec.egress[1]", "", "a workload has one set of hosts for all ports; put all hosts into spec.egress[0]")
	}
	c.egressProxy(spec.OutboundTrafficPolicy)
	seen := make(map[string]string)
	for i, egress := range spec.Egress {
		path := at("spec.egress", i)
		if len(egress.Hosts) == 0 {
			c.error(path+".hosts", "", "is empty; write namespace/host, or ~/* for none")
		}
		for j, text := range egress.Hosts {
			c.egressHost(seen, at(path+".hosts", j), text, len(egress.Hosts))
		}
		c.value(path+".captureMode", egress.CaptureMode.String())
	}
}

func (c *checker) egressHost(seen map[string]string, path, text string, count int) {
	namespace, host, ok := strings.Cut(text, "/")
	switch {
	case !ok:
		c.error(path, text, "has no namespace; write */%s, ./%s or namespace/%s", text, text, text)
		return
	case namespace != "*" && namespace != "." && namespace != "~" && !isNamespace(namespace):
		c.error(path, text, "not a namespace before the slash; use *, ., ~ or the name of one")
		return
	case host != "*":
		if complaint := hostComplaint(host); complaint != "" {
			c.error(path, text, "%s", complaint)
			return
		}
	}
	if earlier, twice := seen[text]; twice {
		c.warn(path, text, "is there already, at %s; remove one", earlier)
	} else if text == "*/*" && count > 1 {
		c.warn(path, text, "takes in all the others; remove them or this one")
	}
	seen[text] = path
}

// egressProxy checks outboundTrafficPolicy.egressProxy.
func (c *checker) egressProxy(p *networking.OutboundTrafficPolicy) {
	const path = "spec.outboundTrafficPolicy"
	to := p.GetEgressProxy()
	if to == nil {
		return
	}
	if p.Mode != networking.OutboundTrafficPolicy_ALLOW_ANY {
		c.error(path+".egressProxy", "", "takes what nobody registers, which mode %s refuses; write mode: ALLOW_ANY, or remove it", p.Mode)
	}
	c.host(path+".egressProxy.host", to.Host)
	c.subsetName(path+".egressProxy.subset", to.Subset)
	if number := path + ".egressProxy.port.number"; !c.r.has(number) {
		c.error(path+".egressProxy.port", "", "is missing; write port: {number: 443}")
	} else {
		c.port(number, to.GetPort().GetNumber())
	}
}
