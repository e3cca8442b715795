package proxy

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/dns"
)

// EndpointStatus is one place where connections to a cluster go. One without name and
// address, under resolution NONE, is where the application was going.
type EndpointStatus struct {
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
	// Live are what is under way there now. Other says that the configuration does not
	// lead to the address: under resolution NONE the application chose it, a wildcard's
	// name has it, or DNS has since replaced it.
	Live  LiveEndpoint
	Other bool
}

// LiveEndpoint is what an upstream knows of an address.
type LiveEndpoint struct {
	Active       int       // requests and opaque connections
	Connections  int       // open or being made
	EjectedUntil time.Time // by outlier detection; zero: it is not
	EjectedBy    string    // the words of the failure that did it
}

// Endpoints lists the endpoints of a cluster as far as they are known: it looks nothing
// up. A name stands once for each of its addresses, once without any where none is known.
func (s *Server) Endpoints(c *mesh.Cluster) []EndpointStatus {
	all := EndpointsOf(c, s.cfg.Resolver.Known)
	live := s.pools.liveEndpoints(c, time.Now())
	for i := range all {
		at := netip.AddrPortFrom(all[i].Addr, all[i].Port)
		all[i].Live = live[at]
		delete(live, at)
	}
	others := slices.SortedFunc(maps.Keys(live), netip.AddrPort.Compare)
	for _, at := range others {
		all = append(all, EndpointStatus{Addr: at.Addr(), Port: at.Port(), Known: true, Live: live[at], Other: true})
	}
	return all
}

// liveEndpoints is what is known of a cluster's addresses.
func (p *pools) liveEndpoints(c *mesh.Cluster, now time.Time) map[netip.AddrPort]LiveEndpoint {
	p.mu.Lock()
	u := p.byKey[keyOf(c, p.server.Workload().Namespace)]
	p.mu.Unlock()
	if u == nil {
		return nil
	}
	u.knowing.RLock()
	defer u.knowing.RUnlock()
	out := make(map[netip.AddrPort]LiveEndpoint, len(u.targets))
	for at, t := range u.targets {
		one := LiveEndpoint{Active: int(t.active.Load()), Connections: int(t.conns.Load())}
		if t.ejected(now.UnixNano()) {
			one.EjectedUntil, one.EjectedBy = time.Unix(0, t.until.Load()), t.by.Load().failure
		}
		out[at] = one
	}
	return out
}

// EndpointsOf is Endpoints of no server: known says what is known of a name.
func EndpointsOf(c *mesh.Cluster, known func(name string) (dns.Known, bool)) []EndpointStatus {
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
