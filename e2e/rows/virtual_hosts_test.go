package rows

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/mesh"
)

// leads is a VirtualService that leads all requests for some hosts to one.
func leads(name, hosts, to string) string {
	return object("VirtualService", name, `{hosts: [`+hosts+`], http: [{route: [{destination: {host: `+to+`}}]}]}`)
}

// both asks in both versions of HTTP.
func both(p *egress.Pod, url, want string) {
	p.T.Helper()
	for _, v := range egress.Versions {
		p.Ask(egress.Request{URL: url, Version: v}).Want(want)
	}
}

func TestVirtualServiceHosts(t *testing.T) {
	t.Parallel()
	row(t, "VS.hosts", func(p *egress.Pod) {
		to := []string{"exact.test", "long.test", "short.test", "first.test", "second.test"}
		asked := []string{"a.b.wild.test", "c.b.wild.test", "d.wild.test", "twice.test"}
		for _, host := range append(to, asked...) {
			p.Net.Web(host, 80, nil)
		}
		issues := p.Apply(web(to...) + web("twice.test") +
			object("ServiceEntry", "wild", `{hosts: ["*.wild.test"], resolution: NONE, ports: [{number: 80, name: http, protocol: HTTP}]}`) +
			leads("short", `"*.wild.test"`, "short.test") +
			leads("long", `"*.b.wild.test"`, "long.test") +
			leads("exact", `a.b.wild.test`, "exact.test") +
			leads("first", "twice.test", "first.test") + leads("second", "twice.test", "second.test"))
		if w := issues.Of(mesh.Warning); len(w) != 1 || !strings.Contains(w[0].String(), "second") || !strings.Contains(w[0].String(), "first") {
			p.T.Errorf("two for one host: %s", issues)
		}
		both(p, "http://a.b.wild.test", "200 exact.test")
		both(p, "http://c.b.wild.test", "200 long.test")
		both(p, "http://d.wild.test", "200 short.test")
		both(p, "http://twice.test", "200 first.test") // the older; they are not merged
		for what, hosts := range map[string]string{"catch-all": `["*"]`, "overlap": `[a.test, a.test]`} {
			if issues := p.Offer(object("VirtualService", "x", `{hosts: `+hosts+`, http: [{route: [{destination: {host: first.test}}]}]}`)); !issues.HasErrors() {
				p.T.Errorf("%s: %s", what, issues)
			}
		}
	})
}

func TestVirtualServiceGateways(t *testing.T) {
	t.Parallel()
	row(t, "VS.gateways", func(p *egress.Pod) {
		for _, host := range []string{"own.test", "other.test"} {
			p.Net.Web(host, 80, nil)
		}
		for gateways, want := range map[string]string{"[ingress]": "own.test", "[ingress, mesh]": "other.test", "[mesh]": "other.test"} {
			issues := p.Apply(web("own.test", "other.test") +
				object("VirtualService", "v", `{hosts: [own.test], gateways: `+gateways+`, http: [{route: [{destination: {host: other.test}}]}]}`))
			if unused := len(issues) == 1; unused != (want == "own.test") {
				p.T.Errorf("%s: %s", gateways, issues)
			}
			both(p, "http://own.test", "200 "+want)
		}
	})
	row(t, "VS.http.match.gateways", func(p *egress.Pod) {
		for _, host := range []string{"own.test", "other.test", "third.test"} {
			p.Net.Web(host, 80, nil)
		}
		issues := p.Apply(web("own.test", "other.test", "third.test") + object("VirtualService", "v", `
  hosts: [own.test]
  gateways: [ingress, mesh]
  http:
  - match: [{gateways: [ingress], uri: {prefix: /}}]
    route: [{destination: {host: other.test}}]
  - match: [{gateways: [ingress], uri: {prefix: /}}, {gateways: [mesh], uri: {prefix: /third}}]
    route: [{destination: {host: third.test}}]
  - route: [{destination: {host: own.test}}]`))
		if len(issues.Of(mesh.Notice)) == 0 {
			p.T.Errorf("nothing is said about matches for gateways: %s", issues)
		}
		both(p, "http://own.test/", "200 own.test")
		both(p, "http://own.test/third", "200 third.test")
	})
}

func TestVirtualServiceExportTo(t *testing.T) {
	t.Parallel()
	for namespace, want := range map[string]string{"team": "other", "third": "other", "stranger": "own"} {
		o := egress.Options{}
		o.Workload.Namespace = namespace
		rowWith(t, "VS.exportTo", o, func(p *egress.Pod) {
			for _, host := range []string{"own.test", "other.test"} {
				p.Net.Web(host, 80, nil)
			}
			p.Apply(web("own.test", "other.test") +
				strings.Replace(leads("v", "own.test", "other.test"), "name: v}\nspec: {", "name: v, namespace: team}\nspec: {exportTo: [., third], ", 1))
			both(p, "http://own.test", "200 "+want+".test")
		})
	}
}
