package rows

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/mesh"
)

// versioned registers all.test, whose endpoints are one.test (v1) and two.test (v2).
var versioned = object("ServiceEntry", "all", `{hosts: [all.test], resolution: STATIC, addresses: ['{{v4 "all.test"}}'],
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}, {number: 9000, name: tcp, protocol: TCP}],
  endpoints: [{address: '{{v4 "one.test"}}', labels: {version: v1}}, {address: '{{v4 "two.test"}}', labels: {version: v2}}]}`)

func serveVersions(p *egress.Pod) {
	p.T.Helper()
	p.Net.Name("all.test", "203.0.113.250")
	for _, host := range []string{"one.test", "two.test"} {
		p.Net.Web(host, 80, nil)
		p.Net.WebTLS(host, 443, nil)
		p.Net.TCP(host, 9000, nil)
	}
}

// toSubset leads what is sent to all.test to a subset.
func toSubset(subset string) string {
	return object("VirtualService", "all", strings.ReplaceAll(`{hosts: [all.test],
  http: [{route: [{destination: {host: all.test, subset: SUBSET}}]}],
  tls: [{match: [{sniHosts: [all.test]}], route: [{destination: {host: all.test, subset: SUBSET}}]}],
  tcp: [{route: [{destination: {host: all.test, subset: SUBSET}}]}]}`, "SUBSET", subset))
}

func TestDestinationRuleSubsets(t *testing.T) {
	t.Parallel()
	row(t, "SE.endpoints.labels", func(p *egress.Pod) { wantSubsets(p) })
	row(t, "DR.subsets", func(p *egress.Pod) {
		wantSubsets(p)
		// A subset without labels is the same servers under another policy.
		p.Apply(versioned + object("DestinationRule", "all", `{host: all.test, subsets: [
  {name: plain}, {name: none, labels: {version: v3}},
  {name: secure, labels: {version: v1}, trafficPolicy: {tls: {mode: SIMPLE, sni: one.test, caCertificates: {{ca}}}}}]}`) +
			object("VirtualService", "all", `{hosts: [all.test], http: [
  {match: [{uri: {prefix: /secure}}], route: [{destination: {host: all.test, subset: secure, port: {number: 443}}}]},
  {match: [{uri: {prefix: /none}}], route: [{destination: {host: all.test, subset: none}}]},
  {route: [{destination: {host: all.test, subset: plain}}]}]}`))
		for _, v := range egress.Versions {
			a := p.Ask(egress.Request{URL: "http://all.test/secure", Version: v})
			if a.Want("200 one.test").WantLine("-", "outbound|443|secure|all.test"); !a.Server.TLS || a.Server.SNI != "one.test" {
				p.T.Errorf("%s: %+v", v, a.Server)
			}
			p.Ask(egress.Request{URL: "http://all.test/", Version: v}).WantLine("-", "outbound|80|plain|all.test")
			p.Ask(egress.Request{URL: "http://all.test/none", Version: v}).Want("503 UH no healthy upstream").WantLine("UH", "outbound|80|none|all.test")
		}
	})
}

// wantSubsets asks each subset over every protocol, more often than once each.
func wantSubsets(p *egress.Pod) {
	p.T.Helper()
	serveVersions(p)
	for subset, server := range map[string]string{"v1": "one.test", "v2": "two.test"} {
		p.Apply(versioned + toSubset(subset) + object("DestinationRule", "all",
			`{host: all.test, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}`))
		for range 4 {
			for _, v := range egress.Versions {
				p.Ask(egress.Request{URL: "http://all.test/", Version: v}).Want("200 "+server).WantLine("-", "outbound|80|"+subset+"|all.test")
			}
			if l := p.Handshake("all.test:443", "all.test").Want(server).Line(); l.Cluster != "outbound|443|"+subset+"|all.test" {
				p.T.Errorf("TLS to the cluster %s", l.Cluster)
			}
			p.Say("all.test:9000", "").Want(server).WantLine("-", "outbound|9000|"+subset+"|all.test")
		}
	}
}

func TestVirtualServiceRouteSubset(t *testing.T) {
	t.Parallel()
	row(t, "VS.route.subset", func(p *egress.Pod) {
		wantSubsets(p)
		issues := p.Apply(versioned + toSubset("v3") + object("DestinationRule", "all", `{host: all.test, subsets: [{name: v1}]}`))
		if len(issues) != 3 || !strings.Contains(issues.String(), "DestinationRule default/all") {
			p.T.Errorf("of a subset that is not there is said:\n%s", issues)
		}
		for _, v := range egress.Versions {
			p.Ask(egress.Request{URL: "http://all.test/", Version: v}).Want("503 NC").WantLine("NC", "outbound|80|v3|all.test")
		}
		p.Handshake("all.test:443", "all.test").Want("reset").WantLine("NC", "outbound|443|v3|all.test")
		p.Say("all.test:9000", "x").Want("reset").WantLine("NC", "outbound|9000|v3|all.test")
	})
}

func TestDestinationRuleWorkloadSelector(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		workload mesh.Workload
		server   string
	}{
		{mesh.Workload{Labels: map[string]string{"app": "shop", "tier": "front"}}, "two.test"},
		{mesh.Workload{Labels: map[string]string{"app": "bank"}}, "one.test"},
		{mesh.Workload{Namespace: "other", Labels: map[string]string{"app": "shop"}}, "one.test"},
	} {
		rowWith(t, "DR.workloadSelector", egress.Options{Workload: tt.workload}, func(p *egress.Pod) {
			serveVersions(p)
			p.Apply(versioned + toSubset("mine") +
				object("DestinationRule", "everybody", `{host: all.test, subsets: [{name: mine, labels: {version: v1}}]}`) +
				object("DestinationRule", "shop", `{host: all.test, workloadSelector: {matchLabels: {app: shop}}, subsets: [{name: mine, labels: {version: v2}}]}`))
			for _, v := range egress.Versions {
				p.Ask(egress.Request{URL: "http://all.test/", Version: v}).Want("200 " + tt.server)
			}
			p.Handshake("all.test:443", "all.test").Want(tt.server)
			p.Say("all.test:9000", "").Want(tt.server)
		})
	}
	row(t, "DR.workloadSelector", func(p *egress.Pod) {
		if issues := p.Offer(object("DestinationRule", "shop", `{host: all.test, exportTo: ['*'], workloadSelector: {matchLabels: {app: shop}}}`)); !issues.HasErrors() {
			p.T.Errorf("a selector beyond its namespace: %s", issues)
		}
	})
}
