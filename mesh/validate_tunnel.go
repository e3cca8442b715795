package mesh

import (
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// tunnel checks trafficPolicy.tunnel.
func (c *checker) tunnel(path string, policy *networking.TrafficPolicy) {
	t := policy.Tunnel
	if t == nil {
		return
	}
	if policy.ProxyProtocol != nil {
		c.error(path, "", "cannot be together with proxyProtocol; remove one of them")
	}
	if t.Protocol != "" && t.Protocol != "CONNECT" && t.Protocol != "POST" {
		c.error(path+".protocol", t.Protocol, "not a way to ask for a tunnel; use CONNECT or POST")
	}
	switch host := path + ".targetHost"; {
	case t.TargetHost == "":
		c.error(host, "", "is missing; name the host that the proxy should connect to")
	case isAddress(t.TargetHost):
	case strings.Contains(t.TargetHost, "*"):
		c.error(host, t.TargetHost, "a proxy cannot connect to a wildcard; write a name or an address")
	default:
		c.hostName(host, t.TargetHost)
	}
	c.port(path+".targetPort", t.TargetPort)
}
