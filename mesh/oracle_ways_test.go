package mesh

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"
)

// Ways gives the ways through a view that are wanted, by port, traffic and host; those
// of one host stand in the order in which they are tried. wanted is asked of a port and a
// host before anything is made of them.
func (v *oldView) Ways(wanted func(port uint16, host string) bool) iter.Seq[Way] {
	return func(yield func(Way) bool) {
		for _, port := range v.Ports() {
			l := v.listeners[port]
			wants := func(host string) bool { return wanted(port, host) }
			if !l.httpWays(wants, yield) || !l.tlsWays(wants, yield) || !l.tcpWays(wants, yield) {
				return
			}
		}
	}
}

// byHost goes through exact names, then wildcards, each in order, until f says false.
func byHost[T any](exact, wildcards map[string]T, f func(host string, of T) bool) bool {
	for _, key := range slices.Sorted(maps.Keys(exact)) {
		if !f(key, exact[key]) {
			return false
		}
	}
	for _, key := range slices.Sorted(maps.Keys(wildcards)) {
		if !f("*"+key, wildcards[key]) {
			return false
		}
	}
	return true
}

// httpWays leaves out the addresses of a host that can be asked for by name.
func (l *oldListener) httpWays(wanted func(string) bool, yield func(Way) bool) bool {
	return byHost(l.hosts, l.wildcards, func(host string, vh *VirtualHost) bool {
		if host != vh.Host && (l.hosts[vh.Host] == vh || host[0] == '[') || !wanted(host) {
			return true
		}
		for _, route := range vh.Routes {
			if !yield(Way{Port: l.Port, Traffic: HTTPTraffic, Host: host, HTTP: route}) {
				return false
			}
		}
		return true
	})
}

func (l *oldListener) tlsWays(wanted func(string) bool, yield func(Way) bool) bool {
	return byHost(l.names, l.suffixes, func(host string, routes []nameRoute) bool {
		if !wanted(host) {
			return true
		}
		for _, r := range routes {
			if !yield(Way{Port: l.Port, Traffic: TLSTraffic, Host: host, Subnets: r.subnets, Opaque: r.route}) {
				return false
			}
		}
		return true
	}) && l.rangeWays(&l.helloByIP, TLSTraffic, wanted, yield)
}

func (l *oldListener) tcpWays(wanted func(string) bool, yield func(Way) bool) bool {
	if !l.rangeWays(&l.tcpByIP, TCPTraffic, wanted, yield) || !l.rangeWays(&l.anyByIP, TCPTraffic, wanted, yield) {
		return false
	}
	for _, named := range l.tcpByName {
		if wanted(named.Own.Host) && !yield(Way{Port: l.Port, Traffic: TCPTraffic, Host: named.Own.Host, Opaque: named.Route}) {
			return false
		}
	}
	return true
}

// rangeWays goes through a table by range. A route there is wanted for the host of its
// first cluster.
func (l *oldListener) rangeWays(t *prefixTable, traffic Traffic, wanted func(string) bool, yield func(Way) bool) bool {
	ranges := slices.SortedFunc(maps.Keys(t.routes), func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	for _, r := range ranges {
		route := t.routes[r]
		if wanted(route.Destinations[0].Cluster.Host) && !yield(Way{Port: l.Port, Traffic: traffic, Subnets: []netip.Prefix{r}, Opaque: route}) {
			return false
		}
	}
	return true
}
