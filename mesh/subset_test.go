package mesh

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// versions is a host with endpoints of two versions.
const versions = `kind: ServiceEntry
metadata: {name: s}
spec:
  hosts: [x.com]
  addresses: [192.0.2.1]
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}, {number: 9000, name: tcp, protocol: TCP}]
  resolution: STATIC
  endpoints:
  - {address: 192.0.2.11, labels: {version: v1, zone: a}}
  - {address: 192.0.2.12, labels: {version: v2}}
  - {address: 192.0.2.13, labels: {version: v1}}
`

// toSubset leads all that is sent to x.com to a subset of it.
func toSubset(subset string) string {
	return strings.ReplaceAll(`kind: VirtualService
metadata: {name: v}
spec:
  hosts: [x.com]
  http: [{route: [{destination: {host: x.com, subset: SUBSET}}]}]
  tls: [{match: [{sniHosts: [x.com]}], route: [{destination: {host: x.com, subset: SUBSET}}]}]
  tcp: [{route: [{destination: {host: x.com, subset: SUBSET}}]}]
`, "SUBSET", subset)
}

func rules(name, spec string) string {
	return "kind: DestinationRule\nmetadata: {name: " + name + "}\nspec: {host: x.com, " + spec + "}"
}

// everyCluster is where HTTP, TLS and TCP for x.com lead.
func everyCluster(v *View) [3]*Cluster {
	return [3]*Cluster{
		v.Listener(80).MatchHTTP([]byte("x.com")).Routes[0].Destinations[0].Cluster,
		v.Listener(443).MatchTLS("x.com", netip.Addr{}).Destinations[0].Cluster,
		v.Listener(9000).MatchTCP(netip.MustParseAddr("192.0.2.1")).Destinations[0].Cluster,
	}
}

func TestASubsetIsTheEndpointsWithItsLabels(t *testing.T) {
	t.Parallel()
	subsets := rules("r", "subsets: [{name: v1, labels: {version: v1}}, {name: near, labels: {version: v1, zone: a}}, {name: all}, {name: none, labels: {version: v3}}]")
	for subset, want := range map[string]string{"v1": "192.0.2.11 192.0.2.13", "near": "192.0.2.11", "all": "192.0.2.11 192.0.2.12 192.0.2.13", "none": ""} {
		for i, c := range everyCluster(view(t, join3(versions, toSubset(subset), subsets))) {
			var got []string
			for _, e := range c.Endpoints {
				got = append(got, e.Addr.String())
			}
			if name := "outbound|" + []string{"80", "443", "9000"}[i] + "|" + subset + "|x.com"; c.Name != name || c.Subset != subset || c.Unknown {
				t.Errorf("%s: %q of %q, unknown %t; want %q", subset, c.Name, c.Subset, c.Unknown, name)
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s: %s, want %s", subset, got, want)
			}
		}
	}
}

// TestANameIsNoEndpointOfALabelledSubset: where a service has no endpoints its name is
// looked up, and that has no labels.
func TestANameIsNoEndpointOfALabelledSubset(t *testing.T) {
	t.Parallel()
	for subset, want := range map[string]Resolution{"labelled": ResolveStatic, "all": ResolveDNS} {
		v := view(t, join3(entry("s", "hosts: [x.com], "+onlyHTTP),
			"kind: VirtualService\nmetadata: {name: v}\nspec: {hosts: [x.com], http: [{route: [{destination: {host: x.com, subset: "+subset+"}}]}]}",
			rules("r", "subsets: [{name: labelled, labels: {a: b}}, {name: all}]")))
		if c := v.Listener(80).MatchHTTP([]byte("x.com")).Routes[0].Destinations[0].Cluster; c.Resolution != want || len(c.Endpoints) > 0 {
			t.Errorf("%s: %+v", subset, c)
		}
	}
}

func TestAnUnknownSubsetIsAnUnknownDestination(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{rules("r", "subsets: [{name: v1}]"), "kind: DestinationRule\nmetadata: {name: r}\nspec: {host: y.com, subsets: [{name: v9}]}"} {
		for i, c := range everyCluster(view(t, join3(versions, toSubset("v9"), rule))) {
			if name := "outbound|" + []string{"80", "443", "9000"}[i] + "|v9|x.com"; !c.Unknown || c.Name != name {
				t.Errorf("%q, unknown %t; want %q", c.Name, c.Unknown, name)
			}
		}
	}
}

func TestASubsetsPolicyIsLaidOverTheHosts(t *testing.T) {
	t.Parallel()
	const (
		pool2, pool3 = "connectionPool: {tcp: {connectTimeout: 2s}}", "connectionPool: {tcp: {connectTimeout: 3s}}"
		pool4, pool5 = "connectionPool: {tcp: {connectTimeout: 4s}}", "connectionPool: {tcp: {connectTimeout: 5s}}"
		simple       = "tls: {mode: SIMPLE, sni: host.com}"
		own          = "tls: {mode: SIMPLE, sni: subset.com}"
	)
	on80 := func(settings string) string {
		return "portLevelSettings: [{port: {number: 80}, " + settings + "}, {port: {number: 81}, tls: {mode: DISABLE}}]"
	}
	tests := map[string]struct {
		host, subset string
		timeout      time.Duration
		sni          string // "": no TLS
	}{
		"nothing in the subset":          {pool2 + ", " + simple, "", 2 * time.Second, "host.com"},
		"another kind":                   {simple, pool3, 3 * time.Second, "host.com"},
		"the same kind, the whole of it": {"connectionPool: {tcp: {connectTimeout: 2s}}", "connectionPool: {http: {maxRetries: 1}}", defaultConnectTimeout, ""},
		"TLS off":                        {pool2 + ", " + simple, "tls: {mode: DISABLE}", 2 * time.Second, ""},
		"another TLS":                    {pool2 + ", " + simple, own, 2 * time.Second, "subset.com"},
		"only the subset":                {"", own, defaultConnectTimeout, "subset.com"},
		"the host's port":                {pool2 + ", " + on80(simple), pool3, 3 * time.Second, "host.com"},
		"the host's port, and none":      {pool2 + ", " + on80(simple), "", defaultConnectTimeout, "host.com"},
		"the subset's port replaces":     {pool2 + ", " + simple, pool3 + ", " + on80(own), defaultConnectTimeout, "subset.com"},
		"its port without TLS":           {simple, own + ", " + on80(pool4), 4 * time.Second, ""},
		"both ports":                     {pool2 + ", " + on80(simple+", "+pool5), own + ", " + on80(pool4), 4 * time.Second, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy := func(text string) string {
				if text == "" {
					return ""
				}
				return ", trafficPolicy: {" + text + "}"
			}
			c := everyCluster(view(t, join3(versions, toSubset("v1"), rules("r", "subsets: [{name: v1"+policy(tt.subset)+"}]"+policy(tt.host)))))[0]
			sni := ""
			if c.TLS != nil {
				sni = c.TLS.SNI
			}
			if c.ConnectTimeout != tt.timeout || sni != tt.sni {
				t.Errorf("connectTimeout %s, TLS to %q; want %s, %q", c.ConnectTimeout, sni, tt.timeout, tt.sni)
			}
		})
	}
}

func TestRulesForOneHostAreMerged(t *testing.T) {
	t.Parallel()
	const timeout = "trafficPolicy: {connectionPool: {tcp: {connectTimeout: "
	documents := join3(versions,
		rules("a", "subsets: [{name: v1, labels: {version: v1}}]"),
		rules("b", timeout+"2s}}}, subsets: [{name: v1, labels: {version: v2}}, {name: v2, labels: {version: v2}}]"),
		rules("c", timeout+"3s}}}"))
	for subset, endpoints := range map[string]int{"v1": 2, "v2": 1} {
		c := everyCluster(view(t, join3(documents, toSubset(subset))))[0]
		if c.ConnectTimeout != 2*time.Second || len(c.Endpoints) != endpoints || c.PolicySrc.Name != "b" {
			t.Errorf("%s: %s of %s, %d endpoints", subset, c.ConnectTimeout, c.PolicySrc.Name, len(c.Endpoints))
		}
	}
}

func TestARuleWithASelectorWinsForWhomItSelects(t *testing.T) {
	t.Parallel()
	rule := func(name, namespace, host, selector, seconds string) string {
		return "kind: DestinationRule\nmetadata: {name: " + name + ", namespace: " + namespace + "}\nspec: {host: '" + host + "', " + selector +
			"subsets: [{name: " + name + "}], trafficPolicy: {connectionPool: {tcp: {connectTimeout: " + seconds + "}}}}"
	}
	selecting := func(labels string) string { return "workloadSelector: {matchLabels: {" + labels + "}}, " }
	s, _ := build(t, join3(versions,
		rule("all", "default", "x.com", "", "1s"),
		rule("shop", "default", "x.com", selecting("app: shop"), "2s"),
		rule("front", "default", "x.com", selecting("app: shop, tier: front"), "3s"), // the older one has these
		rule("elsewhere", "other", "x.com", selecting("app: shop"), "4s"),
		rule("wide", "other", "*.com", "", "5s"),
		rule("everybody", "third", "x.com", "workloadSelector: {}, ", "6s"),
	), Options{})
	for _, tt := range []struct {
		w    Workload
		want string
	}{
		{labelled(), "all"},
		{labelled("app=shop"), "shop"},
		{labelled("app=shop", "tier=front"), "shop"},
		{labelled("tier=front"), "all"},
		{Workload{Namespace: "other", Labels: map[string]string{"app": "shop"}}, "elsewhere"},
		{Workload{Namespace: "other"}, "wide"},
		{Workload{Namespace: "third"}, "everybody"},
		{Workload{Namespace: "fourth", Labels: map[string]string{"app": "shop"}}, "all"}, // the service's namespace
	} {
		if c := everyCluster(s.View(tt.w))[0]; c.PolicySrc.Name != tt.want {
			t.Errorf("%+v follows %s, want %s", tt.w, c.PolicySrc.Name, tt.want)
		}
	}
}

func TestSubsetsThatCannotBeMeantAreWarnedOf(t *testing.T) {
	t.Parallel()
	dns := entry("s", "hosts: [x.com], "+onlyHTTP)
	none := entry("s", "hosts: [x.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE")
	to := func(subset string) string {
		return "kind: VirtualService\nmetadata: {name: v}\nspec: {hosts: [x.com], http: [{route: [{destination: {host: x.com, subset: " + subset + "}}]}]}"
	}
	tests := map[string]struct{ documents, want string }{
		"a subset":                {join3(versions, to("v1"), rules("r", "subsets: [{name: v1, labels: {version: v1}}]")), ""},
		"a subset without labels": {join3(dns, to("v1"), rules("r", "subsets: [{name: v1}]")), ""},
		"no such subset":          {join3(dns, to("v2"), rules("r", "subsets: [{name: v1}]")), `test.yaml:10:76: warning: VirtualService default/v: spec.http[0].route[0].destination.subset "v2": is not a subset of x.com, so requests are answered 503; add it to DestinationRule default/r (test.yaml:12) or correct the name`},
		"TLS to port 80":          {join3(dns, to("v1"), rules("r", "trafficPolicy: {tls: {mode: SIMPLE}}, subsets: [{name: v1}]")), "sends TLS to port 80 of x.com"},
		"no TLS to port 80":       {join3(dns, to("v1"), rules("r", "trafficPolicy: {tls: {mode: SIMPLE}}, subsets: [{name: v1, trafficPolicy: {tls: {mode: DISABLE}}}]")), ""},
		"a subset's TLS":          {join3(dns, to("v1"), rules("r", "subsets: [{name: v1, trafficPolicy: {tls: {mode: SIMPLE}}}]")), `spec.http[0].route[0].destination.subset "v1": sends TLS to port 80`},
		"a subset's TLS to 443": {join3(entry("s", "hosts: [x.com], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}], resolution: DNS"), to("v1"),
			rules("r", "subsets: [{name: v1, trafficPolicy: {tls: {mode: SIMPLE}}}]")), ""},
		"no subsets": {join3(dns, to("v2")), `no DestinationRule has subsets of x.com`},
		"one for others": {join3(dns, to("v1"),
			"kind: DestinationRule\nmetadata: {name: r, namespace: other}\nspec: {host: '*.com', subsets: [{name: v1}]}"), ""},
		"no endpoint": {join3(versions, rules("r", "subsets: [{name: v1, labels: {version: v3}}]")),
			`spec.subsets[0].labels: no endpoint of x.com has them in ServiceEntry default/s (test.yaml:2), so requests for subset v1 are answered 503`},
		"no endpoint of a name": {join3(dns, rules("r", "subsets: [{name: v1, labels: {version: v3}}]")), "no endpoint of x.com"},
		"labels under NONE":     {join3(none, rules("r", "subsets: [{name: v1, labels: {version: v3}}]")), "have no effect: x.com has resolution NONE in ServiceEntry default/s"},
		"two rules":             {join3(dns, rules("a", "subsets: [{name: v1}]"), rules("b", "subsets: [{name: v2}], trafficPolicy: {tls: {mode: DISABLE}}")), ""},
		"a subset twice":        {join3(dns, rules("a", "subsets: [{name: v1}]"), rules("b", "subsets: [{name: v2}, {name: v1}]")), `spec.subsets[1].name "v1": is there already, in DestinationRule default/a`},
		"rules for different workloads": {join3(dns, rules("a", "trafficPolicy: {tls: {mode: DISABLE}}"),
			rules("b", "workloadSelector: {matchLabels: {a: b}}, trafficPolicy: {tls: {mode: DISABLE}}")), ""},
		"rules for the same workloads": {join3(dns, rules("a", "workloadSelector: {matchLabels: {a: b}}, trafficPolicy: {tls: {mode: DISABLE}}"),
			rules("b", "workloadSelector: {matchLabels: {a: b}}, trafficPolicy: {tls: {mode: DISABLE}}")), "has a policy already, in DestinationRule default/a"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantIssue(t, tt.documents, tt.want)
		})
	}
}
