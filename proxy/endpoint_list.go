package proxy

import (
	"net/netip"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/dns"
)

// EndpointStatus is one place where connections to a cluster go. One without name and
// address, under resolution NONE, is where the application was going.
type EndpointStatus struct {
	// Endpoint is an address and port, or a name and port as they are configured.
	Name   string     // as configured, "" where that is an address
	Addr   netip.Addr // of the endpoint, or one that its name has; zero: none is known
	Port   uint16
	Weight uint32
	Labels map[string]string
	// Known says that a name has been looked up; Err is why it has no address, and
	// Expires the end of its TTL.
	Known   bool
	Err     error
	Expires time.Time
}

// Endpoints lists the endpoints of a cluster as far as they are known: it looks nothing
// up. A name stands once for each of its addresses, once without any where none is known.
func (s *Server) Endpoints(c *mesh.Cluster) []EndpointStatus {
	return endpointsOf(c, s.cfg.Resolver.Known)
}

// ConfiguredEndpoints is Endpoints of no server: no name has been looked up.
func ConfiguredEndpoints(c *mesh.Cluster) []EndpointStatus {
	return endpointsOf(c, func(string) (dns.Known, bool) { return dns.Known{}, false })
}

func endpointsOf(c *mesh.Cluster, known func(name string) (dns.Known, bool)) []EndpointStatus {
	switch {
	case c.Resolution == mesh.ResolveNone:
		return []EndpointStatus{{Port: c.TargetPort, Known: true}}
	case len(c.Endpoints) > 0:
		var out []EndpointStatus
		for i := range c.Endpoints {
			out = append(out, endpointStatus(&c.Endpoints[i], known)...)
		}
		return out
	case c.Resolution != mesh.ResolveStatic:
		return endpointStatus(&mesh.Endpoint{Name: c.Host, Port: c.TargetPort}, known)
	}
	return nil
}

func endpointStatus(e *mesh.Endpoint, known func(name string) (dns.Known, bool)) []EndpointStatus {
	one := EndpointStatus{Name: e.Name, Addr: e.Addr, Port: e.Port, Weight: e.Weight, Labels: e.Labels, Known: true}
	if e.Addr.IsValid() {
		return []EndpointStatus{one}
	}
	answer, found := known(e.Name)
	one.Known, one.Err, one.Expires = found, answer.Err, answer.Expires
	if len(answer.Addrs) == 0 {
		return []EndpointStatus{one}
	}
	out := make([]EndpointStatus, len(answer.Addrs))
	for i, addr := range answer.Addrs {
		out[i] = one
		out[i].Addr = addr
	}
	return out
}
