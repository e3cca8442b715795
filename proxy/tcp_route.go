package proxy

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/mesh"
)

// routeTCP finds the service that a destination address belongs to, nil for none.
// Services without addresses are told apart by what their names resolve to. Where none
// has the address, one with endpoints of its own takes the connection there: but not
// one that gave another server name, and under ALLOW_ANY none, since that sends what
// nobody registers where it was going, whatever else is registered on the port.
func (c *connection) routeTCP(st *state, l *mesh.Listener, serverName string) *mesh.TCPRoute {
	if route := l.AddressedTCP(c.dst.Addr()); route != nil {
		return route
	}
	candidates := l.CandidatesTCP(c.dst.Addr())
	onlyOwn := serverName != "" || st.view.Policy == mesh.AllowAny
	if onlyOwn || len(candidates) > 1 {
		if route := c.owner(candidates); route != nil || onlyOwn {
			return route
		}
	}
	for _, named := range candidates {
		if named.Route.Destinations[0].Cluster.Resolution != mesh.ResolveNone {
			return named.Route
		}
	}
	if len(candidates) > 0 {
		return candidates[0].Route
	}
	return nil
}

// owner finds the first service that has the destination's address, nil for none. It
// waits only where a name was never looked up, for all such names together.
func (c *connection) owner(candidates []mesh.NamedTCP) *mesh.TCPRoute {
	s, wait := c.server, false
	for _, named := range candidates {
		has, known := s.hasAddress(noWait, named.Own, c.dst.Addr())
		if has && !wait { // else an older one may have it as well
			return named.Route
		}
		wait = wait || !known
	}
	if !wait {
		return nil
	}
	c.mayWait()
	ctx, cancel := context.WithTimeout(s.life, defaultConnectTimeout)
	defer cancel()
	for _, named := range candidates {
		if has, _ := s.hasAddress(ctx, named.Own, c.dst.Addr()); has {
			return named.Route
		}
	}
	return nil
}

// hasAddress says whether a cluster's name or one of its endpoints is at an address,
// and whether that is known, as far as it is before ctx ends.
func (s *Server) hasAddress(ctx context.Context, c *mesh.Cluster, addr netip.Addr) (has, known bool) {
	has, known = s.isAt(ctx, c.Host, addr)
	for i := 0; i < len(c.Endpoints) && !has; i++ {
		if e := &c.Endpoints[i]; e.Addr.IsValid() {
			has = e.Addr == addr
		} else {
			at, answered := s.isAt(ctx, e.Name, addr)
			has, known = at, known && answered
		}
	}
	return has, known || has
}

// isAt is hasAddress for one name.
func (s *Server) isAt(ctx context.Context, name string, addr netip.Addr) (is, known bool) {
	if s.gave(name, addr) {
		return true, true
	}
	addrs, err := s.cfg.Resolver.Lookup(ctx, name)
	return slices.Contains(addrs, addr) || s.cfg.Resolver.Had(name, addr),
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}
