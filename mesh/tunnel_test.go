package mesh

import (
	"net/netip"
	"strings"
	"testing"
)

const proxyEntry = `kind: ServiceEntry
metadata: {name: p}
spec:
  hosts: [proxy.com]
  ports: [{number: 3128, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 192.0.2.9}]
---
kind: ServiceEntry
metadata: {name: t}
spec:
  hosts: [target.com]
  addresses: [192.0.2.1]
  ports: [{number: 443, name: tls, protocol: TLS}, {number: 5432, name: tcp, protocol: TCP}]
  resolution: DNS
`

// throughProxy leads TLS and TCP for target.com to proxy.com, or a subset of it.
func throughProxy(subset string) string {
	to := "route: [{destination: {host: proxy.com, subset: '" + subset + "'}}]"
	return "kind: VirtualService\nmetadata: {name: v}\nspec: {hosts: [target.com], tls: [{match: [{sniHosts: [target.com]}], " + to + "}], tcp: [{" + to + "}]}"
}

func proxyRule(spec string) string {
	return "kind: DestinationRule\nmetadata: {name: r}\nspec: {host: proxy.com, " + spec + "}"
}

func TestATunnelIsTheRulesOrTheSubsetsOwn(t *testing.T) {
	t.Parallel()
	const (
		toA = "tunnel: {targetHost: A.com., targetPort: 443}"
		toB = "tunnel: {protocol: POST, targetHost: '2001:db8::1', targetPort: 80}"
	)
	for name, tt := range map[string]struct {
		subset, rule string
		want         *Tunnel
	}{
		"none":                              {"", "trafficPolicy: {tls: {mode: DISABLE}}", nil},
		"the rule's":                        {"", "trafficPolicy: {" + toA + "}", &Tunnel{false, "a.com:443"}},
		"whatever the port has":             {"", "trafficPolicy: {" + toA + ", portLevelSettings: [{port: {number: 3128}, tls: {mode: DISABLE}}]}", &Tunnel{false, "a.com:443"}},
		"the subset's":                      {"b", "trafficPolicy: {" + toA + "}, subsets: [{name: b, trafficPolicy: {" + toB + "}}]", &Tunnel{true, "[2001:db8::1]:80"}},
		"a subset does not have the rule's": {"b", "trafficPolicy: {" + toA + "}, subsets: [{name: b}]", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, issues := build(t, join3(proxyEntry, throughProxy(tt.subset), proxyRule(tt.rule)), Options{})
			if len(issues) > 0 {
				t.Error(issues)
			}
			v := s.View(Workload{})
			for _, c := range []*Cluster{
				v.Listener(443).MatchTLS("target.com", netip.Addr{}).Destinations[0].Cluster,
				v.Listener(5432).MatchTCP(netip.MustParseAddr("192.0.2.1")).Destinations[0].Cluster,
			} {
				if told := strings.Contains(strings.Join(c.Says(), "\n"), "tunnel"); told != (tt.want != nil) {
					t.Errorf("%s says %q", c.Name, c.Says())
				}
				if (c.Tunnel == nil) != (tt.want == nil) || c.Tunnel != nil && *c.Tunnel != *tt.want {
					t.Errorf("%s: %+v, want %+v", c.Name, c.Tunnel, tt.want)
				}
			}
		})
	}
}

// TestTLSBeforeATunnelIsTheProxys: what is TLS already goes through the tunnel as it is,
// and the rule's TLS is that to the proxy.
func TestTLSBeforeATunnelIsTheProxys(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]bool{
		"tls: {mode: SIMPLE}": false,
		"tls: {mode: SIMPLE}, tunnel: {targetHost: a.com, targetPort: 443}": true,
	} {
		v := view(t, join3(proxyEntry, throughProxy(""), proxyRule("trafficPolicy: {"+policy+"}")))
		if c := v.Listener(443).MatchTLS("target.com", netip.Addr{}).Destinations[0].Cluster; (c.TLS != nil) != want {
			t.Errorf("%s: TLS %+v", policy, c.TLS)
		}
	}
}

func TestATunnelThatNothingGoesThroughIsWarnedOf(t *testing.T) {
	t.Parallel()
	tunnel := proxyRule("trafficPolicy: {tunnel: {targetHost: a.com, targetPort: 443}}")
	wantIssue(t, join3(proxyEntry, tunnel), "spec.trafficPolicy.tunnel: has no effect")
	wantIssue(t, join3(proxyEntry, throughProxy(""), tunnel), "")
	wantIssue(t, join3(proxyEntry, proxyRule("subsets: [{name: a}, {name: b, trafficPolicy: {tunnel: {targetHost: a.com, targetPort: 443}}}]")),
		"spec.subsets[1].trafficPolicy.tunnel: has no effect")
	wantIssue(t, join3(entry("s", "hosts: [proxy.com], ports: [{number: 22, name: ssh, protocol: TCP}], resolution: DNS"), tunnel), "")
}
