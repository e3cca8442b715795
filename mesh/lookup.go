package mesh

import (
	"net/netip"
	"strings"

	"github.com/sluice-cni/sluice/vip"
)

// maxHostLength is that of a DNS name in presentation form. Nothing longer is
// registered, and not looking spares a walk over a hostile name's dots.
const maxHostLength = 253

// MatchHTTP finds the virtual host that a request names: exactly, else by the name that it
// is short for, else by the longest wildcard. host comes in lower case, without port and
// trailing dot; an address is a name like any other. nil means that nobody registers it
// here. It allocates nothing.
func (l *Listener) MatchHTTP(host []byte) *VirtualHost { return l.matchHTTP(host, netip.Addr{}) }

// matchHTTP is MatchHTTP for what was sent to an address, which may be zero.
func (l *Listener) matchHTTP(host []byte, dst netip.Addr) *VirtualHost {
	if len(host) > maxHostLength {
		return nil
	}
	if !l.HTTP && !l.Unset {
		return nil
	}
	if len(host) > 0 && host[0] != '*' {
		if vh := l.virtualHost(host); vh != nil {
			return vh
		}
	}
	if l.view.snapshot.wildcards == 0 {
		return nil
	}
	// Each dot becomes, in turn, the end of a wildcard: *.example.com of
	// www.example.com is what follows the dot, and a star in front.
	var under [maxHostLength + 1]byte
	copy(under[1:], host)
	for i := 1; i < len(host); i++ {
		if host[i] != '.' {
			continue
		}
		under[i] = '*'
		if vh := l.virtualHost(under[i : len(host)+1]); vh != nil && vh.takes(dst) {
			return vh
		}
	}
	return nil
}

// takes says whether it is asked for at an address, which may be zero.
func (vh *VirtualHost) takes(dst netip.Addr) bool {
	if len(vh.within) == 0 || !dst.IsValid() {
		return true
	}
	for _, p := range vh.within {
		if p.Contains(dst) {
			return true
		}
	}
	return false
}

// MatchTLS finds the route of a connection that opened with a ClientHello: by its
// name, in lower case and without trailing dot, or without one by its destination.
// nil means that nobody registers it here. Clusters it leads to carry no TLS
// settings, but for those with a tunnel: what is TLS already goes through as it is. It allocates nothing.
func (l *Listener) MatchTLS(sni string, dst netip.Addr) *TCPRoute {
	if sni == "" {
		return l.atAddress(&l.hello, dst, l.deriveHello)
	}
	if len(sni) > maxHostLength {
		return nil
	}
	var under [maxHostLength + 1]byte // as in MatchHTTP
	end := 1 + copy(under[1:], sni)
	if sni[0] != '*' {
		if routes := l.serverName(under[1:end]); routes != nil {
			return routeTo(routes, dst)
		}
	}
	if l.view.snapshot.wildcards+l.view.snapshot.sni.count == 0 {
		return nil
	}
	for i := 1; i < len(sni); i++ {
		if sni[i] != '.' {
			continue
		}
		under[i] = '*'
		if routes := l.serverName(under[i:end]); routes != nil {
			return routeTo(routes, dst)
		}
	}
	return nil
}

// atAddress finds the route of the longest range around an address, nil without one.
func (l *Listener) atAddress(known *memo[netip.Prefix, *derived[*TCPRoute]], addr netip.Addr, find func(*derivation, netip.Prefix) *TCPRoute) *TCPRoute {
	addr = addr.Unmap()
	s := l.view.snapshot
	for _, bits := range s.lengths {
		if int(bits) > addr.BitLen() {
			continue
		}
		prefix, err := addr.Prefix(int(bits))
		if err != nil {
			return nil
		}
		if found, ok := known.get(l.view, prefix); ok {
			if found.value != nil {
				return found.value
			}
			continue
		}
		if !s.namesRange(prefix) && !l.subnetTables().has(prefix) {
			continue
		}
		d := l.derivation()
		if route := known.put(l.view, prefix, derive(d, find(d, prefix))).value; route != nil {
			return route
		}
	}
	return nil
}

func routeTo(routes []nameRoute, dst netip.Addr) *TCPRoute {
	for i := range routes {
		if len(routes[i].subnets) == 0 {
			return routes[i].route
		}
		for _, subnet := range routes[i].subnets {
			if subnet.Contains(dst.Unmap()) {
				return routes[i].route
			}
		}
	}
	return nil
}

// MatchTCP finds the route of opaque bytes: by the longest range around their
// destination, else the oldest service that declares the port without addresses.
// For the latter CandidatesTCP has all there are. A virtual address is its host's
// only. It allocates nothing.
func (l *Listener) MatchTCP(dst netip.Addr) *TCPRoute {
	if route := l.AddressedTCP(dst); route != nil {
		return route
	}
	if candidates := l.CandidatesTCP(dst); len(candidates) > 0 {
		return candidates[0].Route
	}
	return nil
}

// AddressedTCP finds the route of opaque bytes by their destination alone.
func (l *Listener) AddressedTCP(dst netip.Addr) *TCPRoute {
	if route := l.declaredAt(dst); route != nil {
		return route
	}
	return l.atAddress(&l.any, dst, l.deriveAny)
}

// declaredAt finds it among what is declared TCP.
func (l *Listener) declaredAt(dst netip.Addr) *TCPRoute {
	return l.atAddress(&l.tcp, dst, l.deriveTCP)
}

// CandidatesTCP lists the services that declare the port without addresses, the
// oldest first. They can be told apart by what their hosts resolve to; nothing
// resolves to a virtual address. The caller must not change the list.
func (l *Listener) CandidatesTCP(dst netip.Addr) []NamedTCP {
	if vip.Contains(dst) {
		return nil
	}
	return l.opaqueByName().list
}

// DeclaredTCP says that a destination is opaque by declaration, so that nobody
// waits for the client's first bytes: in many protocols the server speaks first.
func (l *Listener) DeclaredTCP(dst netip.Addr) bool {
	if l.declaredAt(dst) != nil {
		return true
	}
	return !l.HTTP && !l.TLS && !l.Unset && !vip.Contains(dst) && l.opaqueByName().bare
}

// Match finds the first route that takes a request, and the alternative of its Match
// by which it does, which is nil for a route without conditions. No route means 404.
func (vh *VirtualHost) Match(r Request) (*HTTPRoute, *HTTPMatch) {
	for _, route := range vh.Routes {
		if len(route.Match) == 0 {
			return route, nil
		}
		for i := range route.Match {
			if route.Match[i].accepts(r) {
				return route, &route.Match[i]
			}
		}
	}
	return nil, nil
}

// accepts says whether all conditions hold. The port was judged when the view was
// built.
func (m *HTTPMatch) accepts(r Request) bool {
	if m.URI == nil && m.QueryParams == nil {
		return m.acceptsRest(r)
	}
	path, _, _ := strings.Cut(r.Path(), "#")
	path, query, _ := strings.Cut(path, "?")
	if m.URI != nil && !m.URI.Matches(path) {
		return false
	}
	for name, want := range m.QueryParams {
		if value, ok := queryParam(query, name); !ok || !want.Matches(value) {
			return false
		}
	}
	return m.acceptsRest(r)
}

func (m *HTTPMatch) acceptsRest(r Request) bool {
	if m.Method != nil && !m.Method.Matches(r.Method()) ||
		m.Scheme != nil && !m.Scheme.Matches(r.Scheme()) ||
		m.Authority != nil && !m.Authority.Matches(r.Authority()) {
		return false
	}
	for name, want := range m.Headers {
		if value, ok := r.Header(name); !ok || !want.Matches(value) {
			return false
		}
	}
	for name, want := range m.WithoutHeaders {
		if value, ok := r.Header(name); ok && want.Matches(value) {
			return false
		}
	}
	return true
}

// queryParam gives the first value of a parameter, as it was sent.
func queryParam(query, name string) (string, bool) {
	for query != "" {
		var one string
		one, query, _ = strings.Cut(query, "&")
		key, value, _ := strings.Cut(one, "=")
		if key == name {
			return value, true
		}
	}
	return "", false
}
