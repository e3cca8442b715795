package rows

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// servers names who answered requests, each name once for each request.
func servers(p *egress.Pod, n int, q egress.Request) map[string]int {
	p.T.Helper()
	count := map[string]int{}
	for range n {
		a := p.Ask(q)
		if a.Status != 200 {
			p.T.Errorf("%s: %s", q.URL, a)
		}
		count[a.Server.At]++
	}
	return count
}

func TestServiceEntryResolution(t *testing.T) {
	t.Parallel()
	row(t, "SE.resolution", func(p *egress.Pod) {
		p.Net.Web("one.test", 80, nil)
		p.Net.Web("two.test", 80, nil)
		p.Net.Name("both.test", p.Net.Lookup("one.test", "IPv4"), p.Net.Lookup("two.test", "IPv4"))
		p.Apply(object("ServiceEntry", "both", `{hosts: [both.test], ports: [{number: 80, name: http, protocol: HTTP}]}`))
		// NONE is the default: where the application connects to is where it gets.
		for _, host := range []string{"one.test", "two.test"} {
			p.Ask(egress.Request{URL: "http://both.test", At: p.Net.Lookup(host, "IPv4") + ":80"}).Want("200 " + host)
		}
		issues := p.Apply(object("ServiceEntry", "both", `{hosts: [both.test], ports: [{number: 80, name: http, protocol: HTTP}], resolution: dns}`))
		if len(issues.Of(mesh.Notice)) != 1 {
			p.T.Errorf("lower case: %s", issues)
		}
		if got := servers(p, 20, egress.Request{URL: "http://both.test", At: p.Net.Lookup("one.test", "IPv4") + ":80"}); len(got) != 2 {
			p.T.Errorf("by DNS the requests went to %v", got)
		}
	})
}

func TestServiceEntryResolutionNone(t *testing.T) {
	t.Parallel()
	row(t, "SE.resolution.NONE", func(p *egress.Pod) {
		for _, host := range []string{"own.test", "stranger.test", "a.wild.test", "b.wild.test"} {
			p.Net.Web(host, 80, nil)
			p.Net.WebTLS(host, 443, nil)
			p.Net.TCP(host, 5432, nil)
		}
		issues := p.Apply(object("ServiceEntry", "own", `{hosts: [own.test], resolution: NONE,
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}, {number: 5432, name: db, protocol: TCP}]}`) +
			object("ServiceEntry", "wild", `{hosts: ["*.wild.test"], resolution: NONE,
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}, {number: 5432, name: db, protocol: TCP}]}`))
		if !strings.Contains(issues.String(), `spec.ports[2].protocol "TCP": a TCP connection carries no name`) {
			p.T.Errorf("TCP under a wildcard: %s", issues)
		}
		for _, family := range []string{"IPv4", "IPv6"} {
			at := func(host string, port uint16) string {
				return netip.AddrPortFrom(netip.MustParseAddr(p.Net.Lookup(host, family)), port).String()
			}
			for _, host := range []string{"own.test", "a.wild.test"} {
				for _, v := range egress.Versions {
					own := p.Ask(egress.Request{URL: "http://" + host, At: at(host, 80), Version: v}).Want("200 " + host)
					if own.Server.At != at(host, 80) {
						p.T.Errorf("%s: reached %s", host, own.Server.At)
					}
					// A name leads to its own server, wherever the connection was aimed.
					p.Ask(egress.Request{URL: "http://" + host, At: at("stranger.test", 80), Version: v}).Want("200 " + host)
				}
				p.Handshake(at(host, 443), host).Want(host)
				p.Handshake(at("stranger.test", 443), host).Want(host)
			}
			p.Say(at("own.test", 5432), "").Want("own.test")
			p.Say(at("stranger.test", 5432), "").Want("reset")
			p.Say(at("a.wild.test", 5432), "").Want("reset")
		}
	})
}

func TestServiceEntryResolutionStatic(t *testing.T) {
	t.Parallel()
	row(t, "SE.resolution.STATIC", func(p *egress.Pod) {
		for _, host := range []string{"one.test", "two.test", "own.test"} {
			p.Net.Web(host, 80, nil)
			p.Net.WebTLS(host, 443, nil, p.Net.CertificateFor("own.test"))
			p.Net.TCP(host, 5432, nil)
		}
		entry := func(address string) string {
			return object("ServiceEntry", "own", `{hosts: [own.test], resolution: STATIC, endpoints: [{address: '{{v4 "one.test"}}'}, {address: '`+address+`'}],
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}, {number: 5432, name: db, protocol: TCP}]}`)
		}
		p.Apply(entry(`{{v4 "two.test"}}`))
		for _, v := range egress.Versions {
			if got := servers(p, 20, egress.Request{URL: "http://own.test", Version: v}); len(got) != 2 {
				p.T.Errorf("%s: %v", v, got)
			}
		}
		before := p.Net.Connections("own.test")
		p.Handshake("own.test:443", "own.test").Want("own.test")
		for range 4 {
			if got := p.Say("own.test:5432", "").String(); got != "one.test" && got != "two.test" {
				p.T.Errorf("TCP: %s", got)
			}
		}
		if got := p.Net.Connections("own.test"); got != before {
			p.T.Errorf("what DNS says was reached %d times", got)
		}
		for _, wrong := range []string{"unix:///run/db.sock", "two.test"} {
			if issues := p.Offer(entry(wrong)); !issues.HasErrors() {
				p.T.Errorf("%s: %s", wrong, issues)
			}
		}
	})
}

func TestServiceEntryResolutionDNS(t *testing.T) {
	t.Parallel()
	row(t, "SE.resolution.DNS", func(p *egress.Pod) {
		for _, host := range []string{"one.test", "two.test", "behind.test"} {
			p.Net.Web(host, 80, nil)
			p.Net.TCP(host, 5432, nil)
		}
		p.Net.Name("both.test", p.Net.Lookup("one.test", "IPv4"), p.Net.Lookup("two.test", "IPv4"))
		p.Net.Name("nowhere.test", "203.0.113.250")
		p.Net.Record("empty.test")
		p.Apply(object("ServiceEntry", "both", `{hosts: [both.test], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}, {number: 5432, name: db, protocol: TCP}]}`) +
			object("ServiceEntry", "behind", `{hosts: ["*.front.test"], resolution: DNS, endpoints: [{address: behind.test}], ports: [{number: 80, name: http, protocol: HTTP}]}`) +
			web("empty.test", "missing.test"))
		for _, v := range egress.Versions {
			at := p.Net.Lookup("one.test", "IPv4") + ":80"
			if got := servers(p, 20, egress.Request{URL: "http://both.test", Version: v}); len(got) != 2 {
				p.T.Errorf("%s: %v", v, got)
			}
			p.Ask(egress.Request{URL: "http://x.y.front.test", Version: v, At: at}).Want("200 behind.test")
			p.Ask(egress.Request{URL: "http://empty.test", Version: v, At: at}).Want("503 UH no healthy upstream")
			p.Ask(egress.Request{URL: "http://missing.test", Version: v, At: at}).Want("503 UH no healthy upstream")
		}
		if got := p.Say("both.test:5432", "").String(); got != "one.test" && got != "two.test" {
			p.T.Errorf("TCP: %s", got)
		}
		if issues := p.Offer(object("ServiceEntry", "wild", `{hosts: ["*.wild.test"], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}`)); !issues.HasErrors() {
			p.T.Errorf("a wildcard without endpoints: %s", issues)
		}
	})
}

func TestServiceEntryResolutionDNSRoundRobin(t *testing.T) {
	t.Parallel()
	row(t, "SE.resolution.DNS_ROUND_ROBIN", func(p *egress.Pod) {
		for _, host := range []string{"one.test", "two.test"} {
			p.Net.Web(host, 80, nil)
		}
		one, two := netip.MustParseAddr(p.Net.Lookup("one.test", "IPv4")), netip.MustParseAddr(p.Net.Lookup("two.test", "IPv4"))
		p.Net.TTL = 1
		p.Net.Record("both.test", one, two)
		p.Apply(object("ServiceEntry", "both", `{hosts: [both.test], resolution: DNS_ROUND_ROBIN, ports: [{number: 80, name: http, protocol: HTTP}]}`))
		for _, v := range egress.Versions {
			if got := servers(p, 20, egress.Request{URL: "http://both.test", Version: v}); len(got) != 1 || got[one.String()+":80"] == 0 {
				p.T.Errorf("%s: not the first address alone: %v", v, got)
			}
		}
		p.Net.Record("both.test", two, one)
		await.True(p.T, "the newest answer's first address is used", func() bool {
			return p.Ask(egress.Request{URL: "http://both.test"}).Server.At == two.String()+":80"
		})
		if got := servers(p, 20, egress.Request{URL: "http://both.test"}); len(got) != 1 || got[two.String()+":80"] == 0 {
			p.T.Errorf("after the change: %v", got)
		}
	})
}

func TestServiceEntryResolutionDynamicDNS(t *testing.T) {
	t.Parallel()
	row(t, "SE.resolution.DYNAMIC_DNS", func(p *egress.Pod) {
		for _, host := range []string{"a.wild.test", "b.c.wild.test", "wild.test", "stranger.test"} {
			p.Net.Web(host, 80, nil)
			p.Net.Web(host, 50051, nil)
			p.Net.WebTLS(host, 443, nil)
		}
		p.Apply(object("ServiceEntry", "wild", `{hosts: ["*.wild.test"], resolution: DYNAMIC_DNS,
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 50051, name: grpc, protocol: GRPC}, {number: 443, name: tls, protocol: TLS}]}`))
		at := func(port string) string { return p.Net.Lookup("stranger.test", "IPv4") + ":" + port } // whatever the application thinks
		for _, v := range egress.Versions {
			for _, host := range []string{"a.wild.test", "b.c.wild.test"} {
				p.Ask(egress.Request{URL: "http://" + host, Version: v, At: at("80")}).Want("200 " + host)
				a := p.Ask(egress.Request{URL: "http://" + host + ":50051", Version: v, At: at("50051")}).Want("200 " + host)
				if a.Server.Proto != "HTTP/2.0" {
					p.T.Errorf("GRPC: the server was spoken to in %s", a.Server.Proto)
				}
				p.Ask(egress.Request{URL: "https://" + host, Version: v, At: at("443")}).Want("200 " + host)
			}
			for _, host := range []string{"wild.test", "stranger.test"} {
				p.Ask(egress.Request{URL: "http://" + host, Version: v, At: at("80")}).Want("502 -")
			}
			p.Ask(egress.Request{URL: "http://none.wild.test", Version: v, At: at("80")}).Want("503 UH no healthy upstream")
		}
		p.Handshake(at("443"), "stranger.test").Want("reset")
		if p.Net.Asked("stranger.test") || p.Net.Asked("wild.test") || !p.Net.Asked("a.wild.test") {
			p.T.Error("names are looked up before policy has judged them, or not at all")
		}
		for what, wrong := range map[string]string{
			"no wildcard": `hosts: [wild.test], ports: [{number: 80, name: http, protocol: HTTP}]`,
			"addresses":   `hosts: ["*.wild.test"], addresses: [203.0.113.9], ports: [{number: 80, name: http, protocol: HTTP}]`,
			"endpoints":   `hosts: ["*.wild.test"], endpoints: [{address: a.wild.test}], ports: [{number: 80, name: http, protocol: HTTP}]`,
			"HTTPS":       `hosts: ["*.wild.test"], ports: [{number: 443, name: https, protocol: HTTPS}]`,
			"TCP":         `hosts: ["*.wild.test"], ports: [{number: 443, name: tcp, protocol: TCP}]`,
		} {
			if issues := p.Offer(object("ServiceEntry", "wild", `{resolution: DYNAMIC_DNS, `+wrong+`}`)); !issues.HasErrors() {
				p.T.Errorf("%s: %s", what, issues)
			}
		}
	})
}
