package rows

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/mesh"
)

// shares counts the hosts that answered n requests.
func shares(p *egress.Pod, n int, ask func() *egress.Answer) map[string]int {
	p.T.Helper()
	count := map[string]int{}
	for range n {
		count[ask().String()]++
	}
	return count
}

// about checks a share of 200 that was meant to be 3 of 4: five standard deviations.
func about(p *egress.Pod, what string, got map[string]int, three, one string) {
	p.T.Helper()
	if got[three]+got[one] != 200 || got[three] < 120 || got[three] > 180 {
		p.T.Errorf("%s: %v, want about 150 %s and 50 %s", what, got, three, one)
	}
}

func TestVirtualServiceRoute(t *testing.T) {
	t.Parallel()
	row(t, "VS.http.route", func(p *egress.Pod) {
		for _, host := range []string{"own.test", "one.test", "two.test"} {
			p.Net.Web(host, 80, nil)
			p.Net.Web(host, 8080, nil)
		}
		const ports = `resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}, {number: 8080, name: more, protocol: HTTP}]`
		issues := p.Apply(object("ServiceEntry", "all", `{hosts: [own.test, one.test, two.test], `+ports+`}`) +
			object("VirtualService", "v", `
  hosts: [own.test]
  http:
  - match: [{uri: {prefix: /weights}}]
    route: [{destination: {host: one.test}, weight: 3}, {destination: {host: two.test}, weight: 1}]
  - match: [{uri: {prefix: /zero}}]
    route: [{destination: {host: one.test}, weight: 0}, {destination: {host: two.test}, weight: 7}]
  - match: [{uri: {prefix: /alone}}]
    route: [{destination: {host: one.test}, weight: 0}]
  - match: [{uri: {prefix: /port}}]
    route: [{destination: {host: one.test, port: {number: 8080}}}]
  - match: [{uri: {prefix: /unknown}}]
    route: [{destination: {host: unknown.test}}]
  - match: [{uri: {prefix: /itself}}]
    timeout: 20s
  - route: [{destination: {host: two.test}}]`))
		if w := issues.Of(mesh.Warning); len(w) != 1 || !strings.Contains(w[0].String(), "unknown.test") {
			p.T.Errorf("%s", issues)
		}
		for _, v := range egress.Versions {
			ask := func(url string) *egress.Answer { return p.Ask(egress.Request{URL: url, Version: v}) }
			about(p, string(v), shares(p, 200, func() *egress.Answer { return ask("http://own.test/weights") }), "200 one.test", "200 two.test")
			if got := shares(p, 20, func() *egress.Answer { return ask("http://own.test/zero") }); got["200 two.test"] != 20 {
				p.T.Errorf("%s, a weight of 0: %v", v, got)
			}
			ask("http://own.test/alone").Want("200 one.test")
			if a := ask("http://own.test/port").Want("200 one.test").WantLine("-", "outbound|8080||one.test"); !strings.HasSuffix(a.Server.At, ":8080") {
				p.T.Errorf("%s: %+v", v, a.Server)
			}
			if a := ask("http://own.test:8080/").Want("200 two.test"); !strings.HasSuffix(a.Server.At, ":8080") { // the request's port
				p.T.Errorf("%s: %+v", v, a.Server)
			}
			ask("http://own.test/unknown").Want("503 NC")
			ask("http://own.test/itself").Want("200 own.test")
		}
		for what, wrong := range map[string]string{
			"all weights 0":     `[{destination: {host: one.test}, weight: 0}, {destination: {host: two.test}, weight: 0}]`,
			"a negative weight": `[{destination: {host: one.test}, weight: -1}]`,
		} {
			if issues := p.Offer(object("VirtualService", "w", `{hosts: [own.test], http: [{route: `+wrong+`}]}`)); !issues.HasErrors() {
				p.T.Errorf("%s: %s", what, issues)
			}
		}
	})
}

func TestVirtualServiceTLS(t *testing.T) {
	t.Parallel()
	row(t, "VS.tls.match", func(p *egress.Pod) {
		all := []string{"a.test", "b.test", "own.wild.test", "more.wild.test", "to.test", "port.test", "subnet.test"}
		for _, host := range all {
			p.Net.WebTLS(host, 443, nil)
			p.Net.WebTLS(host, 8443, nil)
		}
		p.Apply(object("ServiceEntry", "all", `{hosts: [a.test, b.test, "*.wild.test", to.test, port.test, subnet.test], resolution: NONE,
  ports: [{number: 443, name: tls, protocol: TLS}, {number: 8443, name: https, protocol: HTTPS}]}`) +
			object("VirtualService", "v", `
  hosts: [a.test, b.test, "*.wild.test"]
  tls:
  - match: [{sniHosts: [a.test], port: 8443}]
    route: [{destination: {host: port.test}}]
  - match: [{sniHosts: [a.test], destinationSubnets: ['{{v4 "subnet.test"}}/32']}]
    route: [{destination: {host: subnet.test}}]
  - match: [{sniHosts: [a.test, "*.wild.test"]}]
    route: [{destination: {host: to.test}}]
  - match: [{sniHosts: [own.wild.test]}]
    route: [{destination: {host: b.test}}]`))
		for _, c := range []struct{ at, sni, want string }{
			{"a.test:443", "a.test", "to.test"},
			{"a.test:8443", "a.test", "port.test"},
			{"subnet.test:443", "a.test", "subnet.test"},
			{"b.test:443", "b.test", "b.test"},
			{"more.wild.test:443", "more.wild.test", "to.test"},
			{"own.wild.test:443", "own.wild.test", "b.test"},
			{"a.test:443", "unknown.test", "reset"},
		} {
			p.Handshake(c.at, c.sni).Want(c.want)
		}
		for what, wrong := range map[string]string{"no match": ``, "no sniHosts": `match: [{port: 443}], `, "a stranger's name": `match: [{sniHosts: [stranger.test]}], `} {
			if issues := p.Offer(object("VirtualService", "v", `{hosts: [a.test], tls: [{`+wrong+`route: [{destination: {host: a.test}}]}]}`)); !issues.HasErrors() {
				p.T.Errorf("%s: %s", what, issues)
			}
		}
	})
	row(t, "VS.tls.route", func(p *egress.Pod) {
		for _, host := range []string{"own.test", "one.test", "two.test"} {
			p.Net.WebTLS(host, 443, nil)
			p.Net.WebTLS(host, 8443, nil)
		}
		// Another entry's endpoints, on another port, in shares; the name stays the one
		// that was asked for.
		p.Apply(object("ServiceEntry", "own", `{hosts: [own.test], resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}`) +
			object("ServiceEntry", "to", `{hosts: [one.test, two.test], resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}, {number: 8443, name: more, protocol: TLS}]}`) +
			object("VirtualService", "v", `
  hosts: [own.test]
  tls:
  - match: [{sniHosts: [own.test]}]
    route:
    - {destination: {host: one.test, port: {number: 8443}}, weight: 3}
    - {destination: {host: two.test, port: {number: 443}}, weight: 1}`))
		about(p, "TLS", shares(p, 200, func() *egress.Answer { return p.Handshake("own.test:443", "own.test") }), "one.test", "two.test")
		if l := p.Handshake("own.test:443", "own.test").Line(); l.ServerName != "own.test" || !strings.Contains(l.Cluster, "outbound|") {
			p.T.Errorf("%s", l.Text)
		}
		p.Apply(object("ServiceEntry", "own", `{hosts: [own.test], resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}`) +
			object("VirtualService", "v", `{hosts: [own.test], tls: [{match: [{sniHosts: [own.test]}], route: [{destination: {host: unknown.test}}]}]}`))
		p.Handshake("own.test:443", "own.test").Want("reset").WantLine("NC", "outbound|443||unknown.test")
	})
}

func TestVirtualServiceTCP(t *testing.T) {
	t.Parallel()
	row(t, "VS.tcp.match", func(p *egress.Pod) {
		for _, host := range []string{"own.test", "to.test", "port.test", "subnet.test"} {
			p.Net.TCP(host, 5432, nil)
			p.Net.TCP(host, 5433, nil)
		}
		p.Apply(object("ServiceEntry", "own", `{hosts: [own.test], addresses: ['{{v4 "own.test"}}', '{{v6 "own.test"}}'],
  ports: [{number: 5432, name: a, protocol: TCP}, {number: 5433, name: b, protocol: TCP}]}`) +
			object("ServiceEntry", "to", `{hosts: [to.test, port.test, subnet.test], resolution: NONE, addresses: [198.51.100.7],
  ports: [{number: 5432, name: a, protocol: TCP}, {number: 5433, name: b, protocol: TCP}]}`) +
			object("ServiceEntry", "static", `{hosts: [behind.test], resolution: STATIC, endpoints: [{address: '{{v4 "to.test"}}'}], addresses: [198.51.100.8],
  ports: [{number: 5432, name: a, protocol: TCP}, {number: 5433, name: b, protocol: TCP}]}`) +
			object("ServiceEntry", "onport", `{hosts: [onport.test], resolution: STATIC, endpoints: [{address: '{{v4 "port.test"}}'}], addresses: [198.51.100.9],
  ports: [{number: 5432, name: a, protocol: TCP}, {number: 5433, name: b, protocol: TCP}]}`) +
			object("ServiceEntry", "insubnet", `{hosts: [insubnet.test], resolution: STATIC, endpoints: [{address: '{{v4 "subnet.test"}}'}], addresses: [198.51.100.10],
  ports: [{number: 5432, name: a, protocol: TCP}, {number: 5433, name: b, protocol: TCP}]}`) +
			object("VirtualService", "v", `
  hosts: [own.test]
  tcp:
  - match: [{port: 5433}]
    route: [{destination: {host: onport.test}}]
  - match: [{destinationSubnets: ['{{v6 "own.test"}}/128']}]
    route: [{destination: {host: insubnet.test}}]
  - route: [{destination: {host: behind.test}}]`))
		p.Say(p.Net.Lookup("own.test", "IPv4")+":5432", "").Want("to.test")
		p.Say(p.Net.Lookup("own.test", "IPv4")+":5433", "").Want("port.test")
		p.Say("["+p.Net.Lookup("own.test", "IPv6")+"]:5432", "").Want("subnet.test")
		p.Say("["+p.Net.Lookup("own.test", "IPv6")+"]:5433", "").Want("port.test")
		if issues := p.Offer(object("VirtualService", "w", `{hosts: [own.test], tcp: [{match: [{port: 5432}]}]}`)); !issues.HasErrors() {
			p.T.Errorf("no route: %s", issues)
		}
	})
	row(t, "VS.tcp.route", func(p *egress.Pod) {
		for _, host := range []string{"own.test", "one.test", "two.test"} {
			p.Net.TCP(host, 5432, nil)
			p.Net.TCP(host, 6432, nil)
		}
		to := func(host, address string) string {
			return object("ServiceEntry", host, `{hosts: [`+host+`], resolution: DNS, addresses: [`+address+`],
  ports: [{number: 5432, name: a, protocol: TCP}, {number: 6432, name: b, protocol: TCP}]}`)
		}
		own := object("ServiceEntry", "own", `{hosts: [own.test], resolution: DNS, ports: [{number: 5432, name: db, protocol: TCP}]}`)
		p.Apply(own + to("one.test", "198.51.100.7") + to("two.test", "198.51.100.8") + object("VirtualService", "v", `
  hosts: [own.test]
  tcp:
  - route:
    - {destination: {host: one.test, port: {number: 6432}}, weight: 3}
    - {destination: {host: two.test}, weight: 1}`))
		about(p, "TCP", shares(p, 200, func() *egress.Answer { return p.Say("own.test:5432", "") }), "one.test", "two.test")
		if p.Say("own.test:5432", ""); p.Net.Connections("own.test") != 0 {
			p.T.Error("the own host was reached")
		}
		p.Apply(own + object("VirtualService", "v", `{hosts: [own.test], tcp: [{route: [{destination: {host: unknown.test}}]}]}`))
		p.Say("own.test:5432", "").Want("reset").WantLine("NC", "outbound|5432||unknown.test")
	})
}
