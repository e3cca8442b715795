package proxy

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/mesh"
)

// Owner implements mesh.Owners. It waits only where a name was never looked up, for all
// such names together.
func (c *connection) Owner(candidates []mesh.NamedTCP) *mesh.TCPRoute {
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
	return anyAt(c, addr, func(name string) (bool, bool) { return s.isAt(ctx, name, addr) })
}

// anyAt asks about a cluster's name and those of its endpoints.
func anyAt(c *mesh.Cluster, addr netip.Addr, isAt func(name string) (is, known bool)) (has, known bool) {
	has, known = isAt(c.Host)
	for i := 0; i < len(c.Endpoints) && !has; i++ {
		if e := &c.Endpoints[i]; e.Addr.IsValid() {
			has = e.Addr == addr
		} else {
			at, answered := isAt(e.Name)
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
