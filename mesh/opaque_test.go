package mesh

import (
	"net/netip"
	"testing"
)

func TestTLSIsRoutedByNameAndByAddressWithoutOne(t *testing.T) {
	t.Parallel()
	v := view(t, join3(
		entry("a", "hosts: [a.com], addresses: [192.0.2.1], ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS"),
		entry("b", "hosts: [b.com], ports: [{number: 443, name: tls, protocol: https}], resolution: DNS"),
		entry("w", "hosts: ['*.w.com'], ports: [{number: 443, name: tls, protocol: TLS}], resolution: NONE"),
		entry("h", "hosts: [h.com], ports: [{number: 443, name: http, protocol: HTTP}], resolution: DNS"),
		"kind: DestinationRule\nmetadata: {name: h}\nspec: {host: h.com, trafficPolicy: {tls: {mode: SIMPLE}}}",
		`kind: VirtualService
metadata: {name: v}
spec:
  hosts: [b.com, '*.w.com']
  tls:
  - {match: [{sniHosts: [b.com], destinationSubnets: [10.0.0.0/8]}], route: [{destination: {host: a.com}}]}
  - {match: [{sniHosts: [b.com], port: 8443}], route: [{destination: {host: h.com}}]}
  - {match: [{sniHosts: [x.w.com]}], route: [{destination: {host: a.com}}]}`,
	))
	l := v.Listener(443)
	tests := []struct{ sni, dst, want string }{
		{"a.com", "198.51.100.1", "a.com"}, {"b.com", "198.51.100.1", "b.com"}, {"b.com", "10.1.2.3", "a.com"},
		{"y.w.com", "198.51.100.1", "*.w.com"}, {"x.w.com", "198.51.100.1", "a.com"}, {"h.com", "198.51.100.1", "h.com"},
		{"nobody.com", "192.0.2.1", ""}, {"", "192.0.2.1", "a.com"}, {"", "198.51.100.1", ""},
	}
	for _, tt := range tests {
		got := ""
		if route := l.MatchTLS(tt.sni, netip.MustParseAddr(tt.dst)); route != nil {
			c := route.Destinations[0].Cluster
			if got = c.Host; c.TLS != nil {
				t.Errorf("%q: TLS inside TLS", tt.sni)
			}
		}
		if got != tt.want {
			t.Errorf("%q to %s goes to %q, want %q", tt.sni, tt.dst, got, tt.want)
		}
	}
}

func TestTCPIsRoutedByTheLongestRangeThenByPort(t *testing.T) {
	t.Parallel()
	tcp := func(name, addresses string) string {
		return entry(name, "hosts: ["+name+".com], "+addresses+"ports: [{number: 5432, name: db, protocol: TCP}], resolution: NONE")
	}
	v := view(t, join3(
		tcp("wide", "addresses: [10.0.0.0/8, '2001:db8::/32'], "), tcp("narrow", "addresses: [10.1.0.0/16], "), tcp("one", "addresses: [10.1.1.1], "),
		tcp("bare", ""), tcp("second", ""),
		"kind: VirtualService\nmetadata: {name: v}\nspec: {hosts: [wide.com], tcp: [{match: [{destinationSubnets: [10.9.0.0/16]}], route: [{destination: {host: one.com}}]}]}",
	))
	l := v.Listener(5432)
	for dst, want := range map[string]string{
		"10.2.0.1": "wide.com", "10.1.2.3": "narrow.com", "10.1.1.1": "one.com", "::ffff:10.1.1.1": "one.com",
		"2001:db8::1": "wide.com", "192.0.2.1": "bare.com", "2001:db9::1": "bare.com", "10.9.1.1": "one.com",
	} {
		if got := l.MatchTCP(netip.MustParseAddr(dst)).Destinations[0].Cluster.Host; got != want {
			t.Errorf("%s goes to %s, want %s", dst, got, want)
		}
	}
	if n := len(l.CandidatesTCP(netip.MustParseAddr("192.0.2.1"))); n != 2 {
		t.Errorf("%d candidates, want 2", n)
	}
	if !l.DeclaredTCP(netip.MustParseAddr("192.0.2.1")) {
		t.Error("a port that is nothing but TCP would be sniffed")
	}
}

func TestOnlyDeclaredTCPIsNotSniffed(t *testing.T) {
	t.Parallel()
	port := func(name, addresses, protocol string) string {
		return entry(name, "hosts: ["+name+".com], "+addresses+"ports: [{number: 80, name: p"+protocol+"}], resolution: NONE")
	}
	v := view(t, join3(
		port("http", "", ", protocol: HTTP"), port("addressed", "addresses: [192.0.2.1], ", ", protocol: TCP"),
		port("bare", "", ", protocol: TCP"), port("unset", "addresses: [192.0.2.2], ", ""),
	))
	l := v.Listener(80)
	for dst, want := range map[string]bool{"192.0.2.1": true, "192.0.2.2": false, "192.0.2.3": false} {
		if got := l.DeclaredTCP(netip.MustParseAddr(dst)); got != want {
			t.Errorf("%s declared TCP: %t, want %t", dst, got, want)
		}
	}
	if !l.HTTP || l.TLS || !l.Unset {
		t.Errorf("HTTP %t, TLS %t, unset %t", l.HTTP, l.TLS, l.Unset)
	}
	if httpCluster(v, 80, "unset.com") == "" || l.MatchTLS("unset.com", netip.Addr{}) == nil {
		t.Error("a port without protocol is not open to HTTP and TLS")
	}
	if got := l.MatchTCP(netip.MustParseAddr("192.0.2.2")).Destinations[0].Cluster.Host; got != "unset.com" {
		t.Errorf("undeclared bytes go to %s", got)
	}
}
