package mesh

import (
	"net/netip"
	"strings"

	"github.com/sluice-cni/sluice/vip"
)

// MatchHTTP finds the virtual host that a request names: exactly, else by the
// longest wildcard. host comes in lower case, without port and trailing dot; an
// address is a name like any other. nil means that nobody registers it here. It
// allocates nothing.
func (l *oldListener) MatchHTTP(host []byte) *VirtualHost {
	if len(host) > maxHostLength {
		return nil
	}
	find := func(table map[string]*VirtualHost, rest string) *VirtualHost {
		if vh := table[rest]; vh != nil {
			return vh
		}
		for _, full := range l.meant(rest) {
			if vh := table[full]; vh != nil {
				return vh
			}
		}
		return nil
	}
	if vh := find(l.hosts, string(host)); vh != nil {
		return vh
	}
	for i := 1; i < len(host); i++ {
		if host[i] != '.' {
			continue
		}
		if vh := find(l.wildcards, string(host[i:])); vh != nil {
			return vh
		}
	}
	return nil
}

// meant lists what a name is short for: services of the workload's namespace, then those of
// the namespace that it names.
func (l *oldListener) meant(name string) []string {
	dots := strings.Count(name, ".")
	if name == "" || strings.HasSuffix(name, ".") {
		return nil
	}
	out := []string{name + "." + l.namespace + ".svc.cluster.local"}
	if dots >= 1 {
		out = append(out, name+".svc.cluster.local")
	}
	if short, ok := strings.CutSuffix(name, ".svc"); ok && strings.Contains(short, ".") {
		out = append(out, name+".cluster.local")
	}
	return out
}

// MatchTLS finds the route of a connection that opened with a ClientHello: by its
// name, in lower case and without trailing dot, or without one by its destination.
// nil means that nobody registers it here. Clusters it leads to carry no TLS
// settings: what is TLS already goes through as it is. It allocates nothing.
func (l *oldListener) MatchTLS(sni string, dst netip.Addr) *TCPRoute {
	if sni == "" {
		return l.helloByIP.find(dst)
	}
	if len(sni) > maxHostLength {
		return nil
	}
	if routes, ok := l.names[sni]; ok {
		return routeTo(routes, dst)
	}
	if len(l.suffixes) == 0 {
		return nil
	}
	for i := 1; i < len(sni); i++ {
		if sni[i] != '.' {
			continue
		}
		if routes, ok := l.suffixes[sni[i:]]; ok {
			return routeTo(routes, dst)
		}
	}
	return nil
}

// MatchTCP finds the route of opaque bytes: by the longest range around their
// destination, else the oldest service that declares the port without addresses.
// For the latter CandidatesTCP has all there are. A virtual address is its host's
// only. It allocates nothing.
func (l *oldListener) MatchTCP(dst netip.Addr) *TCPRoute {
	if route := l.AddressedTCP(dst); route != nil {
		return route
	}
	if candidates := l.CandidatesTCP(dst); len(candidates) > 0 {
		return candidates[0].Route
	}
	return nil
}

// AddressedTCP finds the route of opaque bytes by their destination alone.
func (l *oldListener) AddressedTCP(dst netip.Addr) *TCPRoute {
	if route := l.tcpByIP.find(dst); route != nil {
		return route
	}
	return l.anyByIP.find(dst)
}

// CandidatesTCP lists the services that declare the port without addresses, the
// oldest first. They can be told apart by what their hosts resolve to; nothing
// resolves to a virtual address. The caller must not change the list.
func (l *oldListener) CandidatesTCP(dst netip.Addr) []NamedTCP {
	if len(l.tcpByName) == 0 || vip.Contains(dst) {
		return nil
	}
	return l.tcpByName
}

// DeclaredTCP says that a destination is opaque by declaration, so that nobody
// waits for the client's first bytes: in many protocols the server speaks first.
func (l *oldListener) DeclaredTCP(dst netip.Addr) bool {
	if l.tcpByIP.find(dst) != nil {
		return true
	}
	return l.bareTCP && !l.HTTP && !l.TLS && !l.Unset && !vip.Contains(dst)
}
