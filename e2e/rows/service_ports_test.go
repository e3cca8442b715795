package rows

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

func TestServiceEntryPorts(t *testing.T) {
	t.Parallel()
	row(t, "SE.ports", func(p *egress.Pod) {
		for _, port := range []int{80, 8080, 8081} {
			p.Net.Web("many.test", port, nil)
		}
		p.Apply(object("ServiceEntry", "many", `{hosts: [many.test], resolution: DNS,
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 8080, name: tcp-is-only-a-name, protocol: HTTP}]}`))
		for _, v := range egress.Versions {
			for url, want := range map[string]string{
				"http://many.test": "200 many.test", "http://many.test:8080": "200 many.test", "http://many.test:8081": "502 -",
			} {
				p.Ask(egress.Request{URL: url, Version: v}).Want(want)
			}
		}
		for _, wrong := range []string{
			`[{number: 0, name: http, protocol: HTTP}]`,
			`[{number: 65536, name: http, protocol: HTTP}]`,
			`[{number: 80, name: http, protocol: HTTP}, {number: 80, name: again, protocol: HTTP}]`,
			`[{number: 80, name: http, protocol: HTTP}, {number: 81, name: http, protocol: HTTP}]`,
		} {
			if issues := p.Offer(object("ServiceEntry", "many", `{hosts: [many.test], resolution: DNS, ports: `+wrong+`}`)); !issues.HasErrors() {
				p.T.Errorf("%s: %s", wrong, issues)
			}
		}
		p.Get("http://many.test").Want("200 many.test") // the last good content
	})
}

func TestServiceEntryPortProtocol(t *testing.T) {
	t.Parallel()
	row(t, "SE.ports.protocol", func(p *egress.Pod) {
		requests := map[string]string{ // what the server is spoken to in
			"HTTP": "HTTP/1.1", "http": "HTTP/1.1", "HTTP_PROXY": "HTTP/1.1", "GRPC-WEB": "HTTP/1.1",
			"HTTP2": "HTTP/2.0", "GRPC": "HTTP/2.0", "grpc": "HTTP/2.0", "": "as the application",
		}
		opaque := []string{"TCP", "MONGO", "REDIS", "MYSQL", "mysql"}
		var entries strings.Builder
		port := 1000
		ports := map[string]int{}
		register := func(protocol string) (host string, number int) {
			port++
			ports[protocol] = port
			host = fmt.Sprintf("on%d.test", port)
			entries.WriteString(object("ServiceEntry", host, fmt.Sprintf(`{hosts: [%s], ports: [{number: %d, name: p, protocol: %q}], resolution: DNS}`, host, port, protocol)))
			return host, port
		}
		for protocol := range requests {
			host, number := register(protocol)
			p.Net.Web(host, number, nil)
		}
		for _, protocol := range opaque {
			host, number := register(protocol)
			p.Net.TCP(host, number, nil)
		}
		for _, protocol := range []string{"TLS", "HTTPS", "tls"} {
			host, number := register(protocol)
			p.Net.WebTLS(host, number, nil)
		}
		host, number := register("UDP")
		p.Net.TCP(host, number, nil)
		issues := p.Apply(entries.String())
		if !strings.Contains(issues.String(), "UDP") {
			p.T.Errorf("nothing is said about UDP: %s", issues)
		}

		url := func(protocol string) string { return fmt.Sprintf("on%d.test:%d", ports[protocol], ports[protocol]) }
		for protocol, spoken := range requests {
			for _, v := range egress.Versions {
				a := p.Ask(egress.Request{URL: "http://" + url(protocol), Version: v}).Want(fmt.Sprintf("200 on%d.test", ports[protocol]))
				if got := a.Server.Proto; got != spoken && !(protocol == "" && strings.HasPrefix(got, string(v))) {
					p.T.Errorf("%q, asked in %s: the server was spoken to in %s", protocol, v, got)
				}
			}
		}
		for _, protocol := range opaque { // the server speaks first
			p.Say(url(protocol), "").Want(fmt.Sprintf("on%d.test", ports[protocol]))
		}
		for _, protocol := range []string{"TLS", "HTTPS", "tls"} {
			name := fmt.Sprintf("on%d.test", ports[protocol])
			p.Ask(egress.Request{URL: "https://" + url(protocol)}).Want("200 " + name)
			p.Handshake(url(protocol), "stranger.test").Want("reset")
		}
		p.Say(url("UDP"), "").Want("reset") // it registers no TCP
	})
	row(t, "SE.ports.protocol", undeclaredPortIsAnyProtocol)
}

func undeclaredPortIsAnyProtocol(p *egress.Pod) {
	p.Net.Web("plain.test", 80, nil)
	p.Net.WebTLS("plain.test", 443, nil)
	p.Net.TCP("plain.test", 25, func(c net.Conn) { io.WriteString(c, "220 plain.test") })
	p.Apply(object("ServiceEntry", "plain", `{hosts: [plain.test], resolution: DNS,
  ports: [{number: 80, name: a}, {number: 443, name: b}, {number: 25, name: c}]}`))
	for _, v := range egress.Versions {
		p.Ask(egress.Request{URL: "http://plain.test", Version: v}).Want("200 plain.test")
		p.Ask(egress.Request{URL: "https://plain.test", Version: v}).Want("200 plain.test")
	}
	p.Say("plain.test:25", "").Want("220 plain.test")
}

func TestServiceEntryTargetPort(t *testing.T) {
	t.Parallel()
	row(t, "SE.ports.targetPort", func(p *egress.Pod) {
		p.Net.Web("plain.test", 8080, nil)
		p.Net.WebTLS("secure.test", 443, nil)
		p.Net.TCP("db.test", 6432, nil)
		p.Apply(object("ServiceEntry", "plain", `{hosts: [plain.test], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}], resolution: DNS}`) +
			object("ServiceEntry", "secure", `{hosts: [secure.test], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}], resolution: DNS}`) +
			object("DestinationRule", "secure", `{host: secure.test, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: {{ca}}}}}`) +
			object("ServiceEntry", "db", `{hosts: [db.test], ports: [{number: 5432, name: db, protocol: TCP, targetPort: 6432}], resolution: DNS}`))
		for _, v := range egress.Versions {
			a := p.Ask(egress.Request{URL: "http://plain.test", Version: v}).Want("200 plain.test")
			if !strings.HasSuffix(a.Server.At, ":8080") {
				p.T.Errorf("reached %s", a.Server.At)
			}
			if a = p.Ask(egress.Request{URL: "http://secure.test", Version: v}).Want("200 secure.test"); a.Server.SNI != "secure.test" {
				p.T.Errorf("%+v", a.Server)
			}
		}
		p.Say("db.test:5432", "").Want("db.test")
	})
}
