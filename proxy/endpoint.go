package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/vip"
)

// Why a cluster has no address to connect to.
var (
	errNoEndpoint = errors.New("no healthy upstream")
	errNotItsName = errors.New("the destination is not an address of the registered name")
	errUnsafe     = errors.New("the name leads to an address that DNS may not lead to")
)

// asked is what a connection or request wants: the name it gave, "" for none,
// and where the application was sending it.
type asked struct {
	name string // lower case, no port, no trailing dot
	dst  netip.AddrPort
	// tried are where earlier tries of this one request have failed.
	tried []netip.AddrPort
}

// without is the same wish after a try in vain.
func (a asked) without(addr netip.AddrPort) asked {
	if len(a.tried) < maxTried && !slices.Contains(a.tried, addr) {
		a.tried = append(slices.Clip(a.tried), addr)
	}
	return a
}

// maxTried bounds how many addresses a request remembers, whatever its attempts.
const maxTried = 64

func (a *asked) hasTried(addr netip.Addr) bool {
	return slices.ContainsFunc(a.tried, func(tried netip.AddrPort) bool { return tried.Addr() == addr })
}

func (a *asked) hasTriedPort(addr netip.Addr, port uint16) bool {
	return slices.Contains(a.tried, netip.AddrPortFrom(addr, port))
}

// endpoint picks the address for one attempt. turn differs from one attempt to
// the next, so that load is spread.
func (s *Server) endpoint(ctx context.Context, c *mesh.Cluster, a asked, turn uint32) (netip.AddrPort, error) {
	switch {
	case c == passthrough:
		return s.behind(ctx, a, turn)
	case c.Resolution == mesh.ResolveNone:
		return s.original(ctx, c, a, turn)
	case len(c.Endpoints) > 0:
		e := pickEndpoint(c.Endpoints, a, turn)
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
// an address of the registered name: one of the entry's, else one that the
// application was given for the name, else one that a lookup gives. Under a borrowed
// name (a forged Host or SNI) the connection goes to the name's own address, or is
// refused where the operator wants that; without a name it is refused.
func (s *Server) original(ctx context.Context, c *mesh.Cluster, a asked, turn uint32) (netip.AddrPort, error) {
	dst := netip.AddrPortFrom(a.dst.Addr(), c.TargetPort)
	if len(c.Addresses) > 0 {
		if listed(c, dst.Addr()) {
			return dst, nil
		}
		return s.redirect(a, singles(c.Addresses), c.TargetPort, turn)
	}
	name := nameOf(c, a)
	if s.gave(name, dst.Addr()) && !s.unsafe(c, dst.Addr()) {
		return dst, nil
	}
	addrs, err := s.lookup(ctx, name)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if slices.Contains(addrs, dst.Addr()) || s.cfg.Resolver.Had(name, dst.Addr()) {
		if s.unsafe(c, dst.Addr()) {
			return netip.AddrPort{}, unsafeError(name, dst.Addr())
		}
		return dst, nil
	}
	virtual := vip.Contains(dst.Addr())
	if a.name == "" && !virtual { // the name may have a new address
		s.cfg.Resolver.Refresh(name)
	}
	if addrs, err = s.safe(c, name, addrs); err != nil {
		return netip.AddrPort{}, err
	}
	if virtual { // the host's own, which it has from another port
		return netip.AddrPortFrom(s.pickAddr(addrs, a, turn), c.TargetPort), nil
	}
	return s.redirect(a, addrs, c.TargetPort, turn)
}

// redirect sends a connection whose destination is not the name's to where the
// name is.
func (s *Server) redirect(a asked, own []netip.Addr, port uint16, turn uint32) (netip.AddrPort, error) {
	if a.name == "" || len(own) == 0 || s.cfg.AddressMismatch == MismatchRefuse {
		return netip.AddrPort{}, errNotItsName
	}
	return netip.AddrPortFrom(s.pickAddr(own, a, turn), port), nil
}

// resolve serves a name from the addresses that DNS has for it.
func (s *Server) resolve(ctx context.Context, c *mesh.Cluster, name string, port uint16, a asked, turn uint32) (netip.AddrPort, error) {
	addrs, err := s.lookup(ctx, name)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if c.Resolution == mesh.ResolveDNSRoundRobin {
		turn = 0
	}
	addr := s.pickAddr(addrs, a, turn)
	if s.unsafe(c, addr) {
		if addrs, err = s.safe(c, name, addrs); err != nil {
			return netip.AddrPort{}, err
		}
		addr = s.pickAddr(addrs, a, turn)
	}
	return netip.AddrPortFrom(addr, port), nil
}

// lookup returns at least one address.
func (s *Server) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, err := s.cfg.Resolver.Lookup(ctx, name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errNoEndpoint, err)
	case len(addrs) == 0:
		return nil, errNoEndpoint
	}
	return addrs, nil
}

// nameOf is the DNS name behind a cluster: its host, or under a wildcard the one
// that was asked for.
func nameOf(c *mesh.Cluster, a asked) string {
	if len(c.Host) > 0 && c.Host[0] == '*' {
		return a.name
	}
	return c.Host
}

func listed(c *mesh.Cluster, addr netip.Addr) bool {
	for _, p := range c.Addresses {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// singles are the addresses among ranges: where a name is, if it has to be said.
func singles(ranges []netip.Prefix) []netip.Addr {
	var out []netip.Addr
	for _, p := range ranges {
		if p.IsSingleIP() {
			out = append(out, p.Addr())
		}
	}
	return out
}
