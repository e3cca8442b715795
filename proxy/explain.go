package proxy

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/dns"
	"github.com/sluice-cni/sluice/proxy/http1"
)

// ReadRequest reads the head of a request as the proxy reads one, for an explanation. It
// is an error if the proxy would refuse it, whoever registers its host.
func ReadRequest(head []byte) (host []byte, _ mesh.Request, err error) {
	h := &httpConn{c: &connection{server: &Server{}}}
	n, malformed := h.req.Parse(head)
	switch {
	case malformed != nil:
		return nil, nil, fmt.Errorf("it is refused with %d: %s", malformed.Status, malformed.Detail)
	case n < len(head):
		return nil, nil, fmt.Errorf("it is no single request")
	}
	h.begin(h.entry.start)
	switch h.req.Form {
	case http1.AuthorityForm, http1.Asterisk:
		return nil, nil, fmt.Errorf("%s %s is answered with 404", h.req.Method, h.req.Target)
	}
	return h.host, requestView{h}, nil
}

// Owners tells services without addresses apart by what is known of their names. It looks
// nothing up.
type Owners struct {
	dst  netip.Addr
	isAt func(name string) (is, known bool)
	// Unknown are the names that had to be looked up to tell.
	Unknown []string
}

// Owners are about a destination.
func (s *Server) Owners(dst netip.Addr) *Owners {
	return &Owners{dst: dst, isAt: func(name string) (bool, bool) {
		if s.gave(name, dst) {
			return true, true
		}
		known, found := s.cfg.Resolver.Known(name)
		return slices.Contains(known.Addrs, dst) || s.cfg.Resolver.Had(name, dst), found
	}}
}

// OwnersOf is Owners of no server: known says what is known of a name.
func OwnersOf(dst netip.Addr, known func(name string) (dns.Known, bool)) *Owners {
	return &Owners{dst: dst, isAt: func(name string) (bool, bool) {
		found, is := known(name)
		return slices.Contains(found.Addrs, dst), is
	}}
}

// Addresses are those that are known of a name. It looks nothing up.
func (s *Server) Addresses(name string) []netip.Addr {
	known, _ := s.cfg.Resolver.Known(name)
	return known.Addrs
}

// Owner implements mesh.Owners.
func (o *Owners) Owner(candidates []mesh.NamedTCP) *mesh.TCPRoute {
	for _, named := range candidates {
		has, known := anyAt(named.Own, o.dst, o.isAt)
		if has {
			return named.Route
		}
		if !known {
			o.Unknown = append(o.Unknown, named.Own.Host)
		}
	}
	return nil
}

// ServerName is the name that TLS to a destination is asked for, for a request that names
// a host and was sent to dst, "" where no TLS is originated. Of opaque bytes route and
// host are nil.
func ServerName(route *mesh.HTTPRoute, to *mesh.WeightedCluster, dst netip.AddrPort, host []byte) string {
	d := decision{cluster: to.Cluster, route: route, destination: to}
	return sniFor(to.Cluster, (&connection{dst: dst}).askedFor(to.Cluster, host), d.sentHost(host))
}

// Manner is how a server treats connections to an address, by its own settings.
type Manner struct {
	Ungoverned      bool // they are relayed as they are (Config.Governed)
	RefusesNoSNI    bool // TLS without a server name (Config.RefuseTLS)
	RefusesMismatch bool // those for a name that were sent elsewhere (Config.AddressMismatch)
	NoVirtual       bool // the application is given no virtual address to make them to (Config.NoVirtual)
}

// Manner is that of an address, which may be unknown.
func (s *Server) Manner(dst netip.AddrPort) Manner {
	return Manner{
		Ungoverned:      s.cfg.Governed != nil && dst.Addr().IsValid() && !s.cfg.Governed(dst),
		RefusesNoSNI:    s.cfg.RefuseTLS.WithoutSNI,
		RefusesMismatch: s.cfg.AddressMismatch == MismatchRefuse,
		NoVirtual:       s.cfg.NoVirtual,
	}
}
