package mesh

import (
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// service is a compiled ServiceEntry, or a Service of Kubernetes in the form of one.
type service struct {
	rank
	resource   *Resource
	source     Source
	namespace  string
	scope      scope
	hosts      []string
	addresses  []netip.Prefix
	ports      []servicePort
	resolution Resolution
	endpoints  []*networking.WorkloadEntry
	sans       []string
	external   bool
	udp        bool // one of its ports is UDP's, which the proxy does not carry
	cluster    bool // it is a cluster's own, which is known by its addresses even if it has none now
}

type servicePort struct {
	number, target uint16
	name           string
	protocol       Protocol
}

var resolutions = map[networking.ServiceEntry_Resolution]Resolution{
	networking.ServiceEntry_NONE:            ResolveNone,
	networking.ServiceEntry_STATIC:          ResolveStatic,
	networking.ServiceEntry_DNS:             ResolveDNS,
	networking.ServiceEntry_DNS_ROUND_ROBIN: ResolveDNSRoundRobin,
	// A wildcard without endpoints: the host that the request names is resolved.
	networking.ServiceEntry_DYNAMIC_DNS: ResolveDNS,
}

func compileService(r *Resource, spec *networking.ServiceEntry) *service {
	s := &service{
		resource:   r,
		source:     r.Source,
		namespace:  r.Namespace,
		scope:      newScope(r.Namespace, spec.ExportTo),
		resolution: resolutions[spec.Resolution],
		endpoints:  spec.Endpoints,
		sans:       spec.SubjectAltNames,
		external:   spec.Location == networking.ServiceEntry_MESH_EXTERNAL,
		cluster:    r.Kind == KubernetesService && spec.Location != networking.ServiceEntry_MESH_EXTERNAL,
	}
	for _, host := range spec.Hosts {
		s.hosts = append(s.hosts, canonicalHost(host))
	}
	for _, address := range spec.Addresses {
		if prefix, ok := parsePrefix(address); ok {
			s.addresses = append(s.addresses, prefix)
		}
	}
	for _, p := range spec.Ports {
		protocol, proxied := protocols[strings.ToUpper(p.Protocol)]
		if !proxied {
			s.udp = true
			continue
		}
		port := servicePort{number: uint16(p.Number), target: uint16(p.TargetPort), name: p.Name, protocol: protocol}
		if port.target == 0 {
			port.target = port.number
		}
		s.ports = append(s.ports, port)
	}
	return s
}

// protocols are Istio's names for what a port carries, UDP left out.
var protocols = map[string]Protocol{
	"":           Unset,
	"HTTP":       HTTP,
	"HTTP_PROXY": HTTP,
	"GRPC-WEB":   HTTP,
	"HTTP2":      HTTP2,
	"GRPC":       HTTP2,
	"HTTPS":      TLS,
	"TLS":        TLS,
	"TCP":        TCP,
	"MONGO":      TCP,
	"REDIS":      TCP,
	"MYSQL":      TCP,
}

// parsePrefix reads an address or a range, host bits cut off.
func parsePrefix(text string) (netip.Prefix, bool) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(text)
	return prefix.Masked(), err == nil
}

// alsoEndpoints are the entry's addresses and those of its endpoints.
func (s *service) alsoEndpoints() []netip.Prefix {
	out := slices.Clone(s.addresses)
	for _, e := range s.endpoints {
		if addr, err := netip.ParseAddr(e.Address); err == nil {
			addr = addr.Unmap()
			out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	return out
}

// endpointsOn gives the endpoints as a port sees them. targetPort of an endpoint
// is looked up by the port's name.
func (s *service) endpointsOn(p servicePort) []Endpoint {
	out := make([]Endpoint, 0, len(s.endpoints))
	weighted := false
	for _, e := range s.endpoints {
		weighted = weighted || e.Weight > 0
	}
	for _, e := range s.endpoints {
		endpoint := Endpoint{Port: p.target, Weight: 1, Labels: e.Labels}
		if port := e.Ports[p.name]; port != 0 {
			endpoint.Port = uint16(port)
		}
		if weighted {
			endpoint.Weight = max(e.Weight, 1)
		}
		if addr, err := netip.ParseAddr(e.Address); err == nil {
			endpoint.Addr = addr.Unmap()
		} else {
			endpoint.Name = canonicalHost(e.Address)
		}
		out = append(out, endpoint)
	}
	return out
}
