package rows

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/egress"
)

// in puts a resource into a namespace.
func in(namespace, kind, name, spec string) string {
	return fmt.Sprintf("\napiVersion: networking.istio.io/v1\nkind: %s\nmetadata: {name: %s, namespace: %s}\nspec: %s\n---\n", kind, name, namespace, spec)
}

// says is a rule for a host that can be told by the server name which it asks for.
func says(host, sni, more string) string {
	return `{host: "` + host + `", ` + more + `trafficPolicy: {tls: {mode: SIMPLE, sni: ` + sni + `, insecureSkipVerify: true}}}`
}

// originated registers hosts whose plain HTTP leaves as TLS, once a rule says so.
func originated(namespace string, hosts ...string) string {
	var out string
	for i, host := range hosts {
		out += in(namespace, "ServiceEntry", fmt.Sprintf("tls%d", i), `{hosts: ["`+host+`"], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}], resolution: DNS}`)
	}
	return out
}

// asksFor checks the server name that a request's TLS asks for.
func asksFor(p *egress.Pod, host, sni string) {
	p.T.Helper()
	for _, v := range egress.Versions {
		if a := p.Ask(egress.Request{URL: "http://" + host, Version: v}).Want("200 " + host); a.Server.SNI != sni {
			p.T.Errorf("%s, %s: the server was asked for %q, want %q", host, v, a.Server.SNI, sni)
		}
	}
}

func TestDestinationRuleHost(t *testing.T) {
	t.Parallel()
	row(t, "DR.host", func(p *egress.Pod) {
		hosts := []string{"own.a.test", "other.a.test", "client.test", "service.test", "root.test", "older.test"}
		for _, host := range hosts {
			p.Net.WebTLS(host, 443, nil)
		}
		p.Apply(originated("services", hosts...) +
			in("default", "DestinationRule", "exact", says("own.a.test", "exact", "")) +
			in("default", "DestinationRule", "wild", says("*.a.test", "wild", "")) +
			in("default", "DestinationRule", "client", says("client.test", "client", "")) +
			in("services", "DestinationRule", "client", says("client.test", "service", "")) +
			in("services", "DestinationRule", "service", says("service.test", "service", "")) +
			in("istio-system", "DestinationRule", "service", says("service.test", "root", "")) +
			in("istio-system", "DestinationRule", "root", says("root.test", "root", "")) +
			in("elsewhere", "DestinationRule", "root", says("root.test", "elsewhere", "")) +
			in("default", "DestinationRule", "older", says("older.test", "older", "")) +
			in("default", "DestinationRule", "younger", says("older.test", "younger", "")))
		for i, sni := range []string{"exact", "wild", "client", "service", "root", "older"} {
			asksFor(p, hosts[i], sni)
		}
		for what, wrong := range map[string]string{"no host": `{host: "", trafficPolicy: {tls: {mode: SIMPLE}}}`, "an empty policy": `{host: a.test, trafficPolicy: {}}`} {
			if issues := p.Offer(object("DestinationRule", "w", wrong)); !issues.HasErrors() {
				p.T.Errorf("%s: %s", what, issues)
			}
		}
	})
}

func TestDestinationRuleExportTo(t *testing.T) {
	t.Parallel()
	for namespace, want := range map[string]string{"services": "own", "named": "named", "stranger": "all"} {
		o := egress.Options{}
		o.Workload.Namespace = namespace
		rowWith(t, "DR.exportTo", o, func(p *egress.Pod) {
			p.Net.WebTLS("one.test", 443, nil)
			p.Apply(originated("services", "one.test") +
				in("services", "DestinationRule", "own", says("one.test", "own", "exportTo: [.], ")) +
				in("services", "DestinationRule", "named", says("one.test", "named", "exportTo: [named], ")) +
				in("services", "DestinationRule", "all", says("one.test", "all", `exportTo: ["*"], `)))
			asksFor(p, "one.test", want)
		})
	}
}

func TestDestinationRulePortLevelSettings(t *testing.T) {
	t.Parallel()
	row(t, "DR.portLevelSettings", func(p *egress.Pod) {
		p.Net.WebTLS("one.test", 443, nil)
		p.Net.WebTLS("one.test", 8443, nil)
		p.Net.Web("one.test", 8080, nil)
		p.Apply(object("ServiceEntry", "one", `{hosts: [one.test], resolution: DNS, ports: [{number: 80, name: a, protocol: HTTP, targetPort: 443},
  {number: 81, name: b, protocol: HTTP, targetPort: 8443}, {number: 82, name: c, protocol: HTTP, targetPort: 8080}]}`) +
			object("DestinationRule", "one", `
  host: one.test
  trafficPolicy:
    connectionPool: {tcp: {connectTimeout: 5s}}
    tls: {mode: SIMPLE, sni: whole, insecureSkipVerify: true}
    portLevelSettings:
    - {port: {number: 81}, tls: {mode: SIMPLE, sni: port, insecureSkipVerify: true}}
    - {port: {number: 82}, connectionPool: {tcp: {connectTimeout: 3s}}}`))
		for _, v := range egress.Versions {
			for url, want := range map[string]string{"http://one.test": "whole", "http://one.test:81": "port", "http://one.test:82": ""} {
				a := p.Ask(egress.Request{URL: url, Version: v}).Want("200 one.test")
				if a.Server.SNI != want || a.Server.TLS != (want != "") { // a port's settings inherit nothing: 82 has no TLS
					p.T.Errorf("%s, %s: %+v", url, v, a.Server)
				}
			}
		}
		for what, wrong := range map[string]string{"no port": `{tls: {mode: SIMPLE}}`, "nothing": `{port: {number: 80}}`} {
			if issues := p.Offer(object("DestinationRule", "one", `{host: one.test, trafficPolicy: {portLevelSettings: [`+wrong+`]}}`)); !issues.HasErrors() {
				p.T.Errorf("%s: %s", what, issues)
			}
		}
	})
}

func TestDestinationRuleConnectTimeout(t *testing.T) {
	t.Parallel()
	row(t, "DR.connectionPool.tcp.connectTimeout", func(p *egress.Pod) {
		p.Net.Drop("slow.test")
		p.Apply(web("slow.test") + object("ServiceEntry", "db", `{hosts: [slow.test], ports: [{number: 5432, name: db, protocol: TCP}], resolution: DNS}`) +
			object("DestinationRule", "slow", `{host: slow.test, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 150ms}}}}`))
		for _, v := range egress.Versions {
			begin := time.Now()
			a := p.Ask(egress.Request{URL: "http://slow.test", Version: v})
			if took := time.Since(begin); a.Status != 503 || took < 150*time.Millisecond || took > 8*time.Second {
				p.T.Errorf("%s: %s after %s", v, a, took)
			}
			const want = "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: connection timeout"
			if a.Body != want || a.Line().Flags != "UF,URX" {
				p.T.Errorf("%s: %s", v, a)
			}
		}
		begin := time.Now()
		if a := p.Say("slow.test:5432", ""); a.String() != "reset" || time.Since(begin) > 8*time.Second {
			p.T.Errorf("TCP: %s after %s", a, time.Since(begin))
		}
	})
}
