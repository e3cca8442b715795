package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/sluice-cni/sluice/mesh"
)

// Why a cluster has no address to connect to.
var (
	errNoEndpoint = errors.New("no healthy upstream")
	errNotItsName = errors.New("the destination is not an address of the registered name")
)

// asked is what a connection or request wants: the name it gave, "" for none,
// and where the application was sending it.
type asked struct {
	name string // lower case, no port, no trailing dot
	dst  netip.AddrPort
}

// endpoint picks the address for one attempt. turn differs from one attempt to
// the next, so that another attempt gets another address where there is one.
func (s *Server) endpoint(ctx context.Context, c *mesh.Cluster, a asked, turn uint32) (netip.AddrPort, error) {
	switch {
	case c == passthrough:
		return a.dst, nil
	case c.Resolution == mesh.ResolveNone:
		return s.original(ctx, c, a, turn)
	case len(c.Endpoints) > 0:
		e := &c.Endpoints[pickWeighted(c.Endpoints, turn)]
		if e.Addr.IsValid() {
			return netip.AddrPortFrom(e.Addr, e.Port), nil
		}
		return s.resolve(ctx, c, e.Name, e.Port, a, turn/uint32(len(c.Endpoints)))
	case c.Resolution == mesh.ResolveStatic:
		return netip.AddrPort{}, errNoEndpoint
	}
	return s.resolve(ctx, c, nameOf(c, a), c.TargetPort, a, turn)
}

// original serves resolution NONE: the original destination, provided that it is
// an address of the registered name. Under a borrowed name (a forged Host or
// SNI) the connection goes to the name's own address; without a name it is refused.
func (s *Server) original(ctx context.Context, c *mesh.Cluster, a asked, turn uint32) (netip.AddrPort, error) {
	port := a.dst.Port()
	if c.TargetPort != c.Port {
		port = c.TargetPort
	}
	dst := netip.AddrPortFrom(a.dst.Addr(), port)
	if len(c.Addresses) > 0 {
		for _, p := range c.Addresses {
			if p.Contains(dst.Addr()) {
				return dst, nil
			}
		}
		for _, p := range c.Addresses {
			if a.name != "" && p.IsSingleIP() {
				return netip.AddrPortFrom(p.Addr(), port), nil
			}
		}
		return netip.AddrPort{}, errNotItsName
	}
	name := nameOf(c, a)
	addrs, err := s.cfg.Resolver.Lookup(ctx, name)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", errNoEndpoint, err)
	}
	for _, addr := range addrs {
		if addr == dst.Addr() {
			return dst, nil
		}
	}
	if a.name == "" {
		s.cfg.Resolver.Refresh(name)
		return netip.AddrPort{}, errNotItsName
	}
	return netip.AddrPortFrom(pickAddr(addrs, dst.Addr(), turn), port), nil
}

func (s *Server) resolve(ctx context.Context, c *mesh.Cluster, name string, port uint16, a asked, turn uint32) (netip.AddrPort, error) {
	addrs, err := s.cfg.Resolver.Lookup(ctx, name)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", errNoEndpoint, err)
	}
	if c.Resolution == mesh.ResolveDNSRoundRobin {
		turn = 0
	}
	return netip.AddrPortFrom(pickAddr(addrs, a.dst.Addr(), turn), port), nil
}

// nameOf is the DNS name behind a cluster: its host, or under a wildcard the one
// that was asked for.
func nameOf(c *mesh.Cluster, a asked) string {
	if len(c.Host) > 0 && c.Host[0] == '*' {
		return a.name
	}
	return c.Host
}

// pickAddr prefers the family the application chose: it is known to work from there.
func pickAddr(addrs []netip.Addr, like netip.Addr, turn uint32) netip.Addr {
	same := uint32(0)
	for _, a := range addrs {
		if a.Is4() == like.Is4() {
			same++
		}
	}
	if same == 0 {
		return addrs[turn%uint32(len(addrs))]
	}
	n := turn % same
	for _, a := range addrs {
		if a.Is4() != like.Is4() {
			continue
		}
		if n == 0 {
			return a
		}
		n--
	}
	return addrs[0]
}

// pickWeighted walks the endpoints in turn, each as often as its weight says.
// Without any weight all are equal.
func pickWeighted(endpoints []mesh.Endpoint, turn uint32) int {
	total := uint64(0)
	for i := range endpoints {
		total += uint64(endpoints[i].Weight)
	}
	if total == 0 {
		return int(turn % uint32(len(endpoints)))
	}
	// A step coprime to most totals spreads the turns instead of sending runs.
	n := (uint64(turn) * 2654435761) % total
	for i := range endpoints {
		w := uint64(endpoints[i].Weight)
		if n < w {
			return i
		}
		n -= w
	}
	return 0
}
