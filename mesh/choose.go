package mesh

import (
	"net/netip"
	"slices"
)

// ChooseHTTP finds the virtual host of a request by where it was sent, of which the address
// may be zero, and by what it asks for, as MatchHTTP wants it. nil: nobody registers that
// here, and the Policy decides. It allocates nothing.
func (v *View) ChooseHTTP(dst netip.AddrPort, host []byte) *VirtualHost {
	l := v.Listener(dst.Port())
	if l == nil || len(host) == 0 {
		return nil
	}
	vh := l.matchHTTP(host, dst.Addr())
	if vh == nil || isWildcard(vh.Host) && !IsName(host) { // it would be looked up as it stands
		return nil
	}
	return vh
}

// Owners know what names resolve to.
type Owners interface {
	// Owner picks the first service that is at the destination of the connection that
	// is chosen for, nil for none.
	Owner(candidates []NamedTCP) *TCPRoute
}

// ChooseTLS finds the route of a connection that opened with a ClientHello, whose server
// name is as MatchTLS wants it; nil: nobody registers it here, and the Policy decides.
func (v *View) ChooseTLS(dst netip.AddrPort, name string, o Owners) *TCPRoute {
	l := v.Listener(dst.Port())
	if l == nil || name != "" && !IsName(name) {
		return nil
	}
	if route := l.MatchTLS(name, dst.Addr()); route != nil {
		return route
	}
	// A Service's address is nobody else's, whichever of its names the client gives
	// (kubernetes.default.svc): Istio asks for no server name there either.
	if route := l.MatchTLS("", dst.Addr()); route != nil && route.anyName {
		return route
	}
	return v.chooseTCP(l, dst, name, o)
}

// ChooseTCP finds the route of opaque bytes, nil as ChooseTLS.
func (v *View) ChooseTCP(dst netip.AddrPort, o Owners) *TCPRoute {
	l := v.Listener(dst.Port())
	if l == nil {
		return nil
	}
	return v.chooseTCP(l, dst, "", o)
}

// Cuts says whether REGISTRY_ONLY would keep an opaque connection from where it is going,
// for which ChooseTCP, or ChooseTLS with its server name, found no route where strangers
// pass: it would be refused, or be led to the endpoints of the one service that declares
// the port. Where that service has none it would go where it is going.
func (v *View) Cuts(dst netip.AddrPort, serverName string) bool {
	l := v.Listener(dst.Port())
	if l == nil || serverName != "" {
		return true
	}
	candidates := l.CandidatesTCP(dst.Addr())
	return len(candidates) == 0 || slices.ContainsFunc(candidates, func(c NamedTCP) bool {
		return c.Route.Destinations[0].Cluster.Resolution != ResolveNone
	})
}

// chooseTCP finds the service that a destination address belongs to, nil for none.
// Services without addresses are told apart by what their names resolve to. Where none
// has the address, one with endpoints of its own takes the connection there: but not
// one that gave another server name, and under ALLOW_ANY none, since that sends what
// nobody registers where it was going, whatever else is registered on the port.
func (v *View) chooseTCP(l *Listener, dst netip.AddrPort, serverName string, o Owners) *TCPRoute {
	if route := l.AddressedTCP(dst.Addr()); route != nil {
		return route
	}
	candidates := l.CandidatesTCP(dst.Addr())
	onlyOwn := serverName != "" || v.Passes()
	if onlyOwn || len(candidates) > 1 {
		if route := o.Owner(candidates); route != nil || onlyOwn {
			return route
		}
	}
	for _, named := range candidates {
		if named.Route.Destinations[0].Cluster.Resolution != ResolveNone {
			return named.Route
		}
	}
	if len(candidates) > 0 {
		return candidates[0].Route
	}
	return nil
}

// ReadsHTTP says whether bytes that look like HTTP are read as HTTP: not where only an
// opaque protocol is declared. A nil listener reads it.
func (l *Listener) ReadsHTTP(dst netip.Addr) bool {
	return l == nil || l.HTTP || l.Unset || l.MatchTCP(dst) == nil
}
