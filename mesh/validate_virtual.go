package mesh

import (
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

func (c *checker) virtualService(spec *networking.VirtualService) {
	c.virtualHosts(spec)
	c.gateways(spec.Gateways)
	c.exportTo(spec.ExportTo, false)
	if len(spec.Http)+len(spec.Tls)+len(spec.Tcp) == 0 {
		c.error("spec", "", "has no route; write http, tls or tcp")
	}
	c.httpRoutes(spec.Http)
	c.tlsRoutes(spec)
	c.tcpRoutes(spec.Tcp)
}

func (c *checker) virtualHosts(spec *networking.VirtualService) {
	if len(spec.Hosts) == 0 {
		c.error("spec.hosts", "", "is empty; name at least one host")
	}
	before := newHostSet()
	for i, host := range spec.Hosts {
		path := at("spec.hosts", i)
		if host == "*" && forMesh(spec.Gateways) {
			c.error(path, host, "would take every request of the mesh; name hosts")
			continue
		}
		if !c.hostName(path, host) {
			continue
		}
		if j, found := before.overlapping(canonicalHost(host)); found {
			c.error(path, host, "overlaps with spec.hosts[%d] %q; keep one of them", j, spec.Hosts[j])
		}
		before.add(canonicalHost(host), i)
	}
}

// gateways says when a VirtualService is for gateways only, and so not for us.
func (c *checker) gateways(list []string) {
	for i, name := range list {
		namespace, gateway, qualified := strings.Cut(name, "/")
		if !qualified {
			namespace, gateway = "default", name
		}
		if namespace != "." && !isNamespace(namespace) || !dnsSubdomain.MatchString(gateway) {
			c.error(at("spec.gateways", i), name, "not a gateway; write mesh, name or namespace/name")
		}
	}
	if !forMesh(list) {
		c.warn("spec.gateways", "", "does not name mesh, so no workload follows this VirtualService; add mesh, or leave gateways out")
	}
}

// matchGateways says that a match is for gateways only. Of a VirtualService that is
// as a whole, this has been said.
func (c *checker) matchGateways(path string, list []string) {
	spec := c.r.Spec.(*networking.VirtualService)
	if len(list) > 0 && !forMesh(list) && forMesh(spec.Gateways) {
		c.add(Notice, path, "", "does not name mesh, so no workload follows this match; add mesh, or leave gateways out")
	}
}

func (c *checker) tlsRoutes(spec *networking.VirtualService) {
	hosts := newHostSet()
	for i, host := range spec.Hosts {
		hosts.add(canonicalHost(host), i)
	}
	for i, route := range spec.Tls {
		path := at("spec.tls", i)
		if len(route.Match) == 0 {
			c.error(path+".match", "", "is missing; write the sniHosts that the route is for")
		}
		for j, m := range route.Match {
			match := at(path+".match", j)
			if len(m.SniHosts) == 0 {
				c.error(match+".sniHosts", "", "is empty; name at least one host")
			}
			for k, host := range m.SniHosts {
				c.sniHost(at(match+".sniHosts", k), host, hosts)
			}
			c.subnets(match+".destinationSubnets", m.DestinationSubnets)
			c.optionalPort(match+".port", m.Port)
			c.source(match, m.SourceNamespace, m.SourceLabels)
			c.matchGateways(match+".gateways", m.Gateways)
		}
		c.opaqueRoute(path, route.Route)
	}
}

func (c *checker) sniHost(path, host string, hosts hostSet) {
	switch {
	case isAddress(host):
		c.warn(path, host, "an address is never sent as SNI, so this never matches; write a name")
	case !c.hostName(path, host):
	case !hosts.covers(canonicalHost(host)):
		c.error(path, host, "not one of spec.hosts; add it there")
	}
}

func (c *checker) tcpRoutes(routes []*networking.TCPRoute) {
	for i, route := range routes {
		path := at("spec.tcp", i)
		for j, m := range route.Match {
			match := at(path+".match", j)
			c.subnets(match+".destinationSubnets", m.DestinationSubnets)
			c.optionalPort(match+".port", m.Port)
			c.source(match, m.SourceNamespace, m.SourceLabels)
			c.matchGateways(match+".gateways", m.Gateways)
		}
		c.opaqueRoute(path, route.Route)
	}
}

func (c *checker) opaqueRoute(path string, route []*networking.RouteDestination) {
	if len(route) == 0 {
		c.error(path+".route", "", "is missing; say where to send it")
	}
	weights := make([]int32, len(route))
	for i, d := range route {
		c.destination(at(path+".route", i), d.Destination)
		weights[i] = d.Weight
	}
	c.weights(path+".route", weights)
}

func (c *checker) destination(path string, d *networking.Destination) {
	c.host(path+".destination.host", d.GetHost())
	c.subsetName(path+".destination.subset", d.GetSubset())
	c.optionalPort(path+".destination.port.number", d.GetPort().GetNumber())
	if d.GetPort() != nil && d.GetPort().GetNumber() == 0 && !c.r.has(path+".destination.port.number") {
		c.error(path+".destination.port", "", "has no number; write port: {number: 443}, or leave it out")
	}
}

func (c *checker) weights(path string, weights []int32) {
	var total int64
	for i, w := range weights {
		if w < 0 {
			c.error(at(path, i)+".weight", "", "is negative; use 0 or more")
			return
		}
		total += int64(w)
	}
	if len(weights) > 1 && total == 0 {
		c.error(path, "", "gives every destination the weight 0; give one of them a weight")
	}
}
