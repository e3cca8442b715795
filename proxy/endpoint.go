package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

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

// draw begins the choice of an endpoint: one more turn where they are taken in turn, else
// chance.
func (u *upstream) draw(c *mesh.Cluster) uint32 {
	if c.Balance == mesh.RoundRobin {
		return u.turn.Add(1) - 1
	}
	return u.server.random()
}

// endpoint picks the address for one attempt. draw is the request's, and another one for
// another attempt.
func (u *upstream) endpoint(ctx context.Context, c *mesh.Cluster, a asked, draw uint32) (netip.AddrPort, error) {
	s := u.server
	switch {
	case c == passthrough:
		return s.behind(ctx, a, draw)
	case c.Resolution == mesh.ResolveNone:
		return s.original(ctx, c, a, draw)
	case len(c.Endpoints) == 0 && c.Resolution == mesh.ResolveStatic:
		return netip.AddrPort{}, errNoEndpoint
	}
	f, err := u.fleet(ctx, c, a)
	if err != nil {
		return netip.AddrPort{}, err
	}
	at := int64(0)
	if u.judges(c.Outlier) {
		at = u.leftOut(c.Outlier, f, time.Now())
	}
	m := f.pick(s, c, at, &a, draw)
	if m == nil {
		return netip.AddrPort{}, f.lastEjection(at)
	}
	return m.addr, nil
}

// fleet finds what a request may choose from.
func (u *upstream) fleet(ctx context.Context, c *mesh.Cluster, a asked) (*fleet, error) {
	if len(c.Endpoints) == 0 {
		name := nameOf(c, a)
		addrs, err := u.server.lookup(ctx, name)
		if err != nil {
			return nil, err
		}
		from := [1]source{{name: name, addrs: addrs, port: c.TargetPort, weight: 1}}
		if name == c.Host {
			name = ""
		}
		return u.fleetOf(c, name, from[:])
	}
	f := u.fleets.get("")
	if f != nil && f.plain { // what is written never changes
		return f, f.err
	}
	var room [16]source
	from, err := u.sources(ctx, c, room[:0])
	if err != nil {
		return nil, err
	}
	return u.fleetOf(c, "", from)
}

// sources looks up the endpoints that are names. While there is an address none is
// waited for, and one that leads nowhere leaves the others.
func (u *upstream) sources(ctx context.Context, c *mesh.Cluster, from []source) ([]source, error) {
	found, missing := false, error(nil)
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		src := source{written: e.Addr, name: e.Name, port: e.Port, weight: e.Weight}
		if !e.Addr.IsValid() {
			var err error
			if src.addrs, err = u.server.lookup(noWait, e.Name); err != nil {
				missing = err
			}
		}
		found = found || e.Addr.IsValid() || len(src.addrs) > 0
		from = append(from, src)
	}
	if found {
		return from, nil
	}
	if ctx == noWait {
		return nil, missing
	}
	all := append([]source(nil), from...) // goroutines hold it: from may stay where the caller has it
	return all, u.awaitAny(ctx, all)
}

// awaitAny waits until one of the names has an address, or none has.
func (u *upstream) awaitAny(ctx context.Context, from []source) (err error) {
	type answer struct {
		i     int
		addrs []netip.Addr
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, len(from))
	for i := range from {
		go func() {
			addrs, err := u.server.lookup(ctx, from[i].name)
			answers <- answer{i, addrs, err}
		}()
	}
	for range from {
		a := <-answers
		if a.err == nil {
			from[a.i].addrs = a.addrs
			return nil
		}
		err = a.err
	}
	return err
}

// fleetOf is the fleet of these sources: the one there is, or a new one in its place.
func (u *upstream) fleetOf(c *mesh.Cluster, name string, from []source) (*fleet, error) {
	f := u.fleets.get(name)
	if !f.of(from) {
		u.fleets.building.Lock()
		f = u.newFleet(c, from)
		u.fleets.set(name, f)
		u.fleets.building.Unlock()
	}
	return f, f.err
}

// original serves resolution NONE: the original destination, provided that it is
// an address of the registered name: one of the entry's, else one that the
// application was given for the name, else one that a lookup gives. Under a borrowed
// name (a forged Host or SNI) the connection goes to the name's own address, or is
// refused where the operator wants that; without a name it is refused.
func (s *Server) original(ctx context.Context, c *mesh.Cluster, a asked, draw uint32) (netip.AddrPort, error) {
	dst := netip.AddrPortFrom(a.dst.Addr(), c.TargetPort)
	if len(c.Addresses) > 0 {
		if listed(c, dst.Addr()) {
			return dst, nil
		}
		return s.redirect(a, singles(c.Addresses), c.TargetPort, draw)
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
		return netip.AddrPortFrom(s.pickAddr(addrs, a, draw), c.TargetPort), nil
	}
	return s.redirect(a, addrs, c.TargetPort, draw)
}

// redirect sends a connection whose destination is not the name's to where the
// name is.
func (s *Server) redirect(a asked, own []netip.Addr, port uint16, draw uint32) (netip.AddrPort, error) {
	if a.name == "" || len(own) == 0 || s.cfg.AddressMismatch == MismatchRefuse {
		return netip.AddrPort{}, errNotItsName
	}
	return netip.AddrPortFrom(s.pickAddr(own, a, draw), port), nil
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
