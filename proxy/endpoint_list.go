package proxy

import (
	"net/netip"
	"time"

	"github.com/sluice-cni/sluice/mesh"
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
	var out []EndpointStatus
	switch {
	case c.Resolution == mesh.ResolveNone:
		out = append(out, EndpointStatus{Port: c.TargetPort, Known: true})
	case len(c.Endpoints) > 0:
		for i := range c.Endpoints {
			out = append(out, s.endpointStatus(&c.Endpoints[i])...)
		}
	case c.Resolution != mesh.ResolveStatic:
		out = s.endpointStatus(&mesh.Endpoint{Name: c.Host, Port: c.TargetPort})
	}
	return out
}

func (s *Server) endpointStatus(e *mesh.Endpoint) []EndpointStatus {
	one := EndpointStatus{Name: e.Name, Addr: e.Addr, Port: e.Port, Weight: e.Weight, Labels: e.Labels, Known: true}
	if e.Addr.IsValid() {
		return []EndpointStatus{one}
	}
	known, found := s.cfg.Resolver.Known(e.Name)
	one.Known, one.Err, one.Expires = found, known.Err, known.Expires
	if len(known.Addrs) == 0 {
		return []EndpointStatus{one}
	}
	out := make([]EndpointStatus, len(known.Addrs))
	for i, addr := range known.Addrs {
		out[i] = one
		out[i].Addr = addr
	}
	return out
}
