package mesh

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

const protocolNames = "HTTP, HTTP2, GRPC, GRPC-WEB, HTTP_PROXY, HTTPS, TLS, TCP, MONGO, REDIS, MYSQL or UDP"

func (c *checker) serviceEntry(spec *networking.ServiceEntry) {
	c.serviceHosts(spec)
	c.addresses(spec)
	c.servicePorts(spec)
	c.resolution(spec)
	c.endpoints(spec)
	c.exportTo(spec.ExportTo, true)
	c.value("spec.location", spec.Location.String())
}

func (c *checker) serviceHosts(spec *networking.ServiceEntry) {
	switch {
	case len(spec.Hosts) == 0:
		c.error("spec.hosts", "", "is empty; name at least one host")
	case len(spec.Hosts) > 256:
		c.error("spec.hosts", "", "has %d hosts; use at most 256", len(spec.Hosts))
	}
	first := make(map[string]int)
	for i, host := range spec.Hosts {
		path := at("spec.hosts", i)
		switch earlier, twice := first[canonicalHost(host)]; {
		case twice:
			c.warn(path, host, "is there already, at spec.hosts[%d]; remove one", earlier)
		case host == "*":
			c.error(path, host, "would register every name there is; name hosts, or use the outbound policy ALLOW_ANY")
		case isAddress(host):
			c.error(path, host, "an address is not a host; write a name here and the address in spec.addresses")
		default:
			c.hostName(path, host)
		}
		first[canonicalHost(host)] = i
	}
	if len(spec.Hosts) > 1 && spec.Resolution != networking.ServiceEntry_NONE {
		for i, p := range spec.Ports {
			if protocol, known := protocols[strings.ToUpper(p.Protocol)]; known && (protocol == TCP || protocol == Unset) {
				c.error(at("spec.ports", i)+".protocol", p.Protocol, "cannot tell several hosts apart; use a ServiceEntry for each host, or resolution NONE")
			}
		}
	}
}

func (c *checker) addresses(spec *networking.ServiceEntry) {
	for i, text := range spec.Addresses {
		path := at("spec.addresses", i)
		prefix, ok := c.subnet(path, text)
		switch {
		case !ok:
		case spec.Resolution == networking.ServiceEntry_DYNAMIC_DNS:
			c.error(path, text, "the name decides under resolution DYNAMIC_DNS; remove the addresses")
		case !prefix.IsSingleIP() && spec.Resolution != networking.ServiceEntry_NONE && spec.Resolution != networking.ServiceEntry_STATIC:
			c.error(path, text, "a range cannot be together with resolution %s; use single addresses, or resolution NONE or STATIC", spec.Resolution)
		}
	}
}

func (c *checker) servicePorts(spec *networking.ServiceEntry) {
	if len(spec.Ports) == 0 {
		c.warn("spec.ports", "", "is empty, so nothing is opened; name the ports")
	}
	numbers, names := make(map[uint32]int), make(map[string]int)
	for i, p := range spec.Ports {
		path := at("spec.ports", i)
		c.port(path+".number", p.Number)
		if earlier, twice := numbers[p.Number]; twice && p.Number != 0 {
			c.error(path+".number", fmt.Sprint(p.Number), "is there already, at spec.ports[%d]; remove one", earlier)
		}
		if earlier, twice := names[p.Name]; twice && p.Name != "" {
			c.error(path+".name", p.Name, "is there already, at spec.ports[%d]; give it another name", earlier)
		}
		numbers[p.Number], names[p.Name] = i, i
		c.portName(path+".name", p.Name)
		c.protocol(path+".protocol", p.Protocol)
		c.optionalPort(path+".targetPort", p.TargetPort)
		c.wildcardPort(spec, path, p)
	}
}

func (c *checker) portName(path, name string) {
	switch {
	case name == "":
		c.error(path, "", "is missing; give the port a name")
	case !isNamespace(strings.ToLower(name)): // the same shape
		c.error(path, name, "not a name; use at most 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit")
	}
}

func (c *checker) protocol(path, protocol string) {
	upper := strings.ToUpper(protocol)
	_, known := protocols[upper]
	switch {
	case upper == "UDP":
		c.warn(path, protocol, "the proxy carries TCP only, so the port opens nothing; remove it")
	case !known:
		c.error(path, protocol, "not a protocol; use one of %s", protocolNames)
	}
	if known && protocol != upper {
		c.add(Notice, path, protocol, "deprecated spelling; write %s", upper)
	}
}

// wildcardPort warns of a port that no connection can be matched to: opaque bytes
// carry no name, and a wildcard has no address.
func (c *checker) wildcardPort(spec *networking.ServiceEntry, path string, p *networking.ServicePort) {
	if protocols[strings.ToUpper(p.Protocol)] != TCP || len(spec.Addresses) > 0 {
		return
	}
	if i := slices.IndexFunc(spec.Hosts, isWildcard); i >= 0 {
		c.warn(path+".protocol", p.Protocol, "a TCP connection carries no name to compare with %q, so it is refused; write spec.addresses, or a host without wildcard", spec.Hosts[i])
	}
}

func (c *checker) resolution(spec *networking.ServiceEntry) {
	wildcard := slices.IndexFunc(spec.Hosts, isWildcard)
	switch spec.Resolution {
	case networking.ServiceEntry_NONE:
		if !c.r.has("spec.resolution") {
			c.add(Notice, "spec.resolution", "", "deprecated to leave out; it is taken as NONE (go where the client looked the name up); write resolution: NONE, or DNS to let the proxy look it up")
		}
	case networking.ServiceEntry_DNS, networking.ServiceEntry_DNS_ROUND_ROBIN:
		if wildcard >= 0 && len(spec.Endpoints) == 0 {
			c.error(at("spec.hosts", wildcard), spec.Hosts[wildcard], "a wildcard has no address to look up; add endpoints, or use resolution NONE or DYNAMIC_DNS")
		}
	case networking.ServiceEntry_STATIC:
		if len(spec.Endpoints) == 0 {
			c.warn("spec.endpoints", "", "is empty under resolution STATIC, so every request is answered 503; add endpoints")
		}
	case networking.ServiceEntry_DYNAMIC_DNS:
		c.dynamicDNS(spec)
	}
}

func (c *checker) dynamicDNS(spec *networking.ServiceEntry) {
	for i, host := range spec.Hosts {
		if !isWildcard(host) {
			c.error(at("spec.hosts", i), host, "resolution DYNAMIC_DNS is for wildcards; use resolution DNS")
		}
	}
	for i, p := range spec.Ports {
		if !slices.Contains([]string{"HTTP", "HTTP2", "GRPC", "TLS"}, strings.ToUpper(p.Protocol)) {
			c.error(at("spec.ports", i)+".protocol", p.Protocol, "carries no name that resolution DYNAMIC_DNS could look up; use HTTP or TLS")
		}
	}
}

func (c *checker) endpoints(spec *networking.ServiceEntry) {
	switch n := len(spec.Endpoints); {
	case n == 0:
	case spec.Resolution == networking.ServiceEntry_NONE:
		c.error("spec.endpoints", "", "cannot be together with resolution NONE; use STATIC for addresses or DNS for names")
	case spec.Resolution == networking.ServiceEntry_DYNAMIC_DNS:
		c.error("spec.endpoints", "", "cannot be together with resolution DYNAMIC_DNS; remove them")
	case spec.Resolution == networking.ServiceEntry_DNS_ROUND_ROBIN && n > 1:
		c.error("spec.endpoints", "", "resolution DNS_ROUND_ROBIN takes one endpoint; use DNS for several")
	}
	for i, e := range spec.Endpoints {
		path := at("spec.endpoints", i)
		if e.Address == "" && e.Network != "" {
			c.error(path+".address", "", "is missing; an endpoint that is known by its network alone needs that network's gateway, which sluice cannot find: write an address")
		} else {
			c.endpointAddress(path+".address", e.Address, spec.Resolution)
		}
		for name, number := range e.Ports {
			field := path + ".ports[" + name + "]"
			c.port(field, number)
			if !slices.ContainsFunc(spec.Ports, func(p *networking.ServicePort) bool { return p.Name == name }) {
				c.error(field, name, "no port of spec.ports has this name; use one of theirs")
			}
		}
	}
}

func (c *checker) endpointAddress(path, address string, resolution networking.ServiceEntry_Resolution) {
	switch {
	case address == "":
		c.error(path, "", "is missing; write an address or a name")
	case strings.HasPrefix(address, "unix://"):
		c.error(path, address, "a unix socket of the pod is out of the proxy's reach; write an address")
	case isAddress(address):
	case resolution == networking.ServiceEntry_STATIC:
		c.error(path, address, "not an address; write one, or use resolution DNS for names")
	case isWildcard(address):
		c.error(path, address, "a wildcard cannot be looked up; write a name")
	default:
		c.hostName(path, address)
	}
}
