package mesh

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"
)

// Traffic is what a way through a view is for.
type Traffic string

// The kinds of traffic that a listener tells apart.
const (
	HTTPTraffic Traffic = "http" // by Host
	TLSTraffic  Traffic = "tls"  // by server name, or without one by address
	TCPTraffic  Traffic = "tcp"  // by address or, without one, by what a name resolves to
)

// Way is one way through a view: the traffic that takes it and the route it takes.
type Way struct {
	Port    uint16
	Traffic Traffic
	// Host is what is asked for: a name, perhaps a wildcard, or an address in HTTP. Of
	// TCP it is the service's, or "" where only an address decides.
	Host string
	// Subnets are the destinations that it is for, none: all. Where several have one,
	// the longest decides.
	Subnets []netip.Prefix
	HTTP    *HTTPRoute // one of them is nil
	Opaque  *TCPRoute
}

// Destinations are those of the way's route.
func (w *Way) Destinations() []WeightedCluster {
	if w.HTTP != nil {
		return w.HTTP.Destinations
	}
	return w.Opaque.Destinations
}

// Ways gives the ways through a view that are wanted, by port, traffic and host; those
// of one host stand in the order in which they are tried. wanted is asked of a port and a
// host before anything is made of them.
func (v *View) Ways(wanted func(port uint16, host string) bool) iter.Seq[Way] {
	return func(yield func(Way) bool) {
		for _, port := range v.Ports() {
			l := v.Listener(port)
			wants := func(host string) bool { return wanted(port, host) }
			if !l.httpWays(wants, yield) || !l.tlsWays(wants, yield) || !l.tcpWays(wants, yield) {
				return
			}
		}
	}
}

// inOrder goes through names that are wanted, exact ones before wildcards.
func inOrder(names map[string]bool, wanted func(string) bool, f func(host string) bool) bool {
	sorted := slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		switch {
		case isWildcard(a) == isWildcard(b):
			return cmp.Compare(a, b)
		case isWildcard(a):
			return 1
		}
		return -1
	})
	for _, name := range sorted {
		if wanted(name) && !f(name) {
			return false
		}
	}
	return true
}

// httpWays leaves out the addresses of a host that can be asked for by name.
func (l *Listener) httpWays(wanted func(string) bool, yield func(Way) bool) bool {
	return inOrder(l.httpNames(), wanted, func(host string) bool {
		vh := l.deriveHost(l.derivation(), host)
		if vh == nil || host != vh.Host && l.byName(vh) {
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

// byName says whether a virtual host can be asked for by its own name.
func (l *Listener) byName(vh *VirtualHost) bool {
	if isWildcard(vh.Host) {
		return false
	}
	own := l.deriveHost(l.derivation(), vh.Host)
	return own != nil && own.Host == vh.Host
}

// httpNames gives all that HTTP may be asked for: the hosts that services declare and
// their addresses, and those of VirtualServices.
func (l *Listener) httpNames() map[string]bool {
	names := make(map[string]bool)
	for _, protocol := range []Protocol{HTTP, HTTP2, Unset} {
		for entry, p := range l.declaring(protocol) {
			names[entry.host] = true
			for _, prefix := range p.service.addresses {
				if prefix.IsSingleIP() {
					names[prefix.Addr().String()] = true
				}
			}
			for _, a := range l.view.virtualOf(entry) {
				names[a.String()] = true
			}
		}
	}
	for written, virtuals := range l.view.snapshot.routed.all() {
		for _, r := range virtuals {
			host, _ := finder(l.view.visible).resolve(written, r.namespace, l.view.snapshot.zone)
			names[host] = true
		}
	}
	return names
}

func (l *Listener) tlsWays(wanted func(string) bool, yield func(Way) bool) bool {
	names := make(map[string]bool)
	for _, protocol := range []Protocol{HTTP, HTTP2, Unset, TLS} {
		for entry := range l.declaring(protocol) {
			names[entry.host] = true
		}
	}
	for name := range l.view.snapshot.sni.all() {
		names[name] = true
	}
	return inOrder(names, wanted, func(host string) bool {
		for _, r := range l.deriveName(l.derivation(), host) {
			if !yield(Way{Port: l.Port, Traffic: TLSTraffic, Host: host, Subnets: r.subnets, Opaque: r.route}) {
				return false
			}
		}
		return true
	}) && l.rangeWays(l.deriveHello, TLSTraffic, wanted, yield)
}

func (l *Listener) tcpWays(wanted func(string) bool, yield func(Way) bool) bool {
	if !l.rangeWays(l.deriveTCP, TCPTraffic, wanted, yield) || !l.rangeWays(l.deriveAny, TCPTraffic, wanted, yield) {
		return false
	}
	for _, named := range l.opaqueByName().list {
		if wanted(named.Own.Host) && !yield(Way{Port: l.Port, Traffic: TCPTraffic, Host: named.Own.Host, Opaque: named.Route}) {
			return false
		}
	}
	return true
}

// rangeWays goes through the ranges that there are. A route there is wanted for the host
// of its first cluster.
func (l *Listener) rangeWays(derive func(*derivation, netip.Prefix) *TCPRoute, traffic Traffic, wanted func(string) bool, yield func(Way) bool) bool {
	for _, r := range l.ranges() {
		route := derive(l.derivation(), r)
		if route != nil && wanted(route.Destinations[0].Cluster.Host) && !yield(Way{Port: l.Port, Traffic: traffic, Subnets: []netip.Prefix{r}, Opaque: route}) {
			return false
		}
	}
	return true
}

// ranges lists those that services on the port, tcp routes and virtual addresses name, in
// order.
func (l *Listener) ranges() []netip.Prefix {
	var out []netip.Prefix
	for protocol := Unset; protocol <= TCP; protocol++ {
		for entry, p := range l.declaring(protocol) {
			out = append(out, p.service.addresses...)
			for _, a := range l.view.virtualOf(entry) {
				out = append(out, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	for _, v := range l.view.snapshot.subnetted {
		out = slices.AppendSeq(out, v.subnets())
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return slices.Compact(out)
}
