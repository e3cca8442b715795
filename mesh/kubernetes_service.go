package mesh

import (
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// KubernetesService is the Kind of the Resource that stands for a Service of a cluster. It
// is none of Kinds: nobody writes one for sluice.
const KubernetesService = "Service"

// DefaultClusterDomain is the domain of a cluster that names no other.
const DefaultClusterDomain = "cluster.local"

// Service is a Service of Kubernetes, as far as egress is concerned.
type Service struct {
	Namespace, Name string
	// Addresses are its cluster IPs, of either family; a headless Service has none.
	Addresses []netip.Addr
	// Ports are those of TCP: the proxy carries no UDP and no SCTP, so whoever makes a
	// Service leaves these out.
	Ports []ServicePort
	// Endpoints are the addresses of the pods of a headless Service that are ready.
	Endpoints []netip.Addr
	// Selectorless says that its endpoints are somebody's to write, as for a database
	// outside: nobody labels their slices as a headless Service's, so Endpoints may be
	// empty where there are some.
	Selectorless bool
	// External is the externalName of a Service of that type, "" for all others.
	External string
	// ExportTo is who sees it, as a ServiceEntry's exportTo (Istio's annotation
	// networking.istio.io/exportTo); empty: everybody.
	ExportTo []string
	Labels   map[string]string
}

// ServicePort is one port of a Service.
type ServicePort struct {
	Name string // "" where the Service has one port only
	// AppProtocol is spec.ports[].appProtocol, "" where it says none.
	AppProtocol string
	Port        uint16
	// Target is where the pods of a headless Service listen; 0: on Port.
	Target uint16
}

// FromService makes the resource that registers a Service, as Istio does it, in a cluster
// with that domain ("": DefaultClusterDomain). Its host is NAME.NAMESPACE.svc.DOMAIN.
//
// One with cluster IPs is reached by these, and kube-proxy chooses the pod. A headless one
// is reached where the application was going, which has to be one of its endpoints, by its
// own name and by those of its pods below that; one without a selector, of whose endpoints
// nothing is known, is where the cluster's DNS says. One with an external name is resolved
// by that. Protocols are by appProtocol, else by the port's name (Istio's "http-metrics"),
// else by the first bytes.
//
// The resource is nil where nothing is registered; the issues say why.
func FromService(s Service, domain string) (*Resource, Issues) {
	if domain == "" {
		domain = DefaultClusterDomain
	}
	host := s.Name + "." + s.Namespace + ".svc." + domain
	spec := &networking.ServiceEntry{Hosts: []string{host}, Location: networking.ServiceEntry_MESH_INTERNAL, ExportTo: s.ExportTo}
	r := &Resource{
		APIVersion: "v1", Kind: KubernetesService, Namespace: s.Namespace, Name: s.Name, Labels: s.Labels, Spec: spec,
		Source: Source{Kind: KubernetesService, Namespace: s.Namespace, Name: s.Name, File: "services/" + s.Namespace + "/" + s.Name},
	}
	switch {
	case s.External != "":
		if isAddress(s.External) {
			return nil, Issues{r.Issue(Error, "spec.externalName", s.External,
				"an address is not a name, and Kubernetes looks it up as one; write a ServiceEntry with endpoints")}
		}
		spec.Resolution, spec.Location = networking.ServiceEntry_DNS, networking.ServiceEntry_MESH_EXTERNAL
		spec.Endpoints = []*networking.WorkloadEntry{{Address: canonicalHost(s.External)}}
	case len(s.Addresses) > 0:
		spec.Resolution = networking.ServiceEntry_STATIC
		for _, a := range s.Addresses {
			spec.Endpoints = append(spec.Endpoints, &networking.WorkloadEntry{Address: a.Unmap().String()})
		}
		spec.Addresses = texts(s.Addresses)
	case len(s.Endpoints) > 0:
		spec.Hosts = append(spec.Hosts, "*."+host)
		spec.Addresses = texts(s.Endpoints)
	case s.Selectorless:
		spec.Resolution, spec.Location = networking.ServiceEntry_DNS, networking.ServiceEntry_MESH_EXTERNAL
	default: // the name is known, and nobody is there: 503
		spec.Resolution = networking.ServiceEntry_STATIC
	}
	for _, p := range s.Ports {
		spec.Ports = append(spec.Ports, &networking.ServicePort{Number: uint32(p.Port), Name: p.Name, Protocol: p.protocol()})
	}
	if s.headless() { // nobody is between, so that the pods' own ports are asked for
		for _, p := range s.Ports {
			if p.Target != 0 && !hasPort(spec, p.Target) {
				spec.Ports = append(spec.Ports, &networking.ServicePort{Number: uint32(p.Target), Name: p.Name, Protocol: p.protocol()})
			}
		}
	}
	if len(spec.Ports) == 0 {
		return nil, Issues{r.Issue(Notice, "spec.ports", "", "has none of TCP, so nothing is opened; list the ports")}
	}
	return r, nil
}

func (s *Service) headless() bool { return s.External == "" && len(s.Addresses) == 0 }

func texts(addresses []netip.Addr) []string {
	out := make([]string, len(addresses))
	for i, a := range addresses {
		out[i] = a.Unmap().String()
	}
	return out
}

func hasPort(spec *networking.ServiceEntry, number uint16) bool {
	return slices.ContainsFunc(spec.Ports, func(p *networking.ServicePort) bool { return p.Number == uint32(number) })
}

// protocol is Istio's: what appProtocol says, else the port's name up to its first hyphen,
// else TCP on the ports of protocols whose server speaks first, else "" (Istio's
// kube.ConvertProtocol).
func (p ServicePort) protocol() string {
	name := p.Name
	if p.AppProtocol != "" {
		name = p.AppProtocol
		if standard := kubernetesProtocols[name]; standard != "" {
			return standard
		}
	}
	name = strings.ToUpper(name)
	if strings.HasPrefix(name, "GRPC-WEB") {
		return "GRPC-WEB"
	}
	name, _, _ = strings.Cut(name, "-")
	if _, known := protocols[name]; known && name != "" {
		return name
	}
	if serverFirst[p.Port] {
		return "TCP"
	}
	return ""
}

// kubernetesProtocols are the names of appProtocol that Kubernetes has given a meaning
// (the Service API, KEP 3726).
var kubernetesProtocols = map[string]string{
	"kubernetes.io/h2c": "HTTP2",
	"kubernetes.io/ws":  "HTTP",
	"kubernetes.io/wss": "HTTPS",
}

// serverFirst are the ports of SMTP, DNS, MySQL and MongoDB.
var serverFirst = map[uint16]bool{25: true, 53: true, 3306: true, 27017: true}
