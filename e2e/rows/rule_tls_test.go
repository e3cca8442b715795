package rows

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

// tlsFailed checks an answer after a handshake that failed.
func tlsFailed(p *egress.Pod, what string, a *egress.Answer) {
	p.T.Helper()
	if a.Status != 503 || !strings.Contains(a.Body, "TLS_error") || !strings.HasPrefix(a.Line().Flags, "UF") {
		p.T.Errorf("%s: %s", what, a)
	}
}

func TestDestinationRuleTLSMode(t *testing.T) {
	t.Parallel()
	row(t, "DR.tls.mode", func(p *egress.Pod) {
		p.Net.Web("disable.test", 80, nil)
		p.Net.Web("unset.test", 80, nil)
		for _, host := range []string{"simple.test", "http2.test"} {
			p.Net.WebTLS(host, 443, nil)
		}
		p.Net.WebTLS("closed.test", 443, nil, p.Net.AskForCertificate)
		p.Net.WebTLS("shown.test", 443, nil, p.Net.AskForCertificate)
		var rules string
		for host, tls := range map[string]string{
			"simple.test": `{mode: SIMPLE, caCertificates: {{ca}}}`,
			"http2.test":  `{mode: SIMPLE, caCertificates: {{ca}}}`,
			"closed.test": `{mode: SIMPLE, caCertificates: {{ca}}}`,
			"shown.test":  `{mode: MUTUAL, caCertificates: {{ca}}, clientCertificate: {{cert "payments"}}, privateKey: {{key "payments"}}}`,
		} {
			rules += object("DestinationRule", host, `{host: `+host+`, trafficPolicy: {tls: `+tls+`}}`)
		}
		p.Apply(web("disable.test", "unset.test") + originated("default", "simple.test", "closed.test", "shown.test") + rules +
			object("ServiceEntry", "http2", `{hosts: [http2.test], ports: [{number: 80, name: grpc, protocol: GRPC, targetPort: 443}], resolution: DNS}`) +
			object("DestinationRule", "disable", `{host: disable.test, trafficPolicy: {tls: {mode: DISABLE}}}`))
		for _, v := range egress.Versions {
			ask := func(host string) *egress.Answer { return p.Ask(egress.Request{URL: "http://" + host, Version: v}) }
			for _, host := range []string{"disable.test", "unset.test"} {
				if a := ask(host).Want("200 " + host); a.Server.TLS {
					p.T.Errorf("%s: %+v", host, a.Server)
				}
			}
			if a := ask("simple.test").Want("200 simple.test"); a.Server.SNI != "simple.test" || a.Server.Client != "" {
				p.T.Errorf("SIMPLE, %s: %+v", v, a.Server)
			}
			if a := ask("http2.test").Want("200 http2.test"); a.Server.SNI != "http2.test" || a.Server.Proto != "HTTP/2.0" { // by ALPN
				p.T.Errorf("SIMPLE, %s: %+v", v, a.Server)
			}
			tlsFailed(p, "a server that wants a certificate", ask("closed.test"))
			if a := ask("shown.test").Want("200 shown.test"); a.Server.SNI != "shown.test" || a.Server.Client != "payments" {
				p.T.Errorf("MUTUAL, %s: %+v", v, a.Server)
			}
		}
		for what, wrong := range map[string]string{"MUTUAL without files": `{mode: MUTUAL}`, "ISTIO_MUTUAL": `{mode: ISTIO_MUTUAL}`} {
			if issues := p.Offer(object("DestinationRule", "w", `{host: simple.test, trafficPolicy: {tls: `+wrong+`}}`)); !issues.HasErrors() {
				p.T.Errorf("%s: %s", what, issues)
			}
		}
	})
}

func TestDestinationRuleTLSName(t *testing.T) {
	t.Parallel()
	row(t, "DR.tls.sni", func(p *egress.Pod) {
		p.Net.WebTLS("own.test", 443, nil)
		p.Net.WebTLS("sni.test", 443, nil, p.Net.CertificateFor("other.internal"))
		p.Net.WebTLS("san.test", 443, nil, p.Net.CertificateFor("san.internal"))
		p.Net.WebTLS("wrong.test", 443, nil, p.Net.CertificateFor("stranger.internal"))
		p.Net.WebTLS("a.wild.test", 443, nil)
		p.Net.WebTLS("led.test", 443, nil, p.Net.CertificateFor("front.test"))
		p.Net.Name("front.test")
		rule := func(host, more string) string {
			return object("DestinationRule", strings.Replace(host, "*", "any", 1), `{host: "`+host+`", trafficPolicy: {tls: {mode: SIMPLE, caCertificates: {{ca}}`+more+`}}}`)
		}
		p.Apply(originated("default", "own.test", "sni.test", "san.test", "wrong.test") +
			object("ServiceEntry", "wild", `{hosts: ["*.wild.test"], ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}], resolution: DYNAMIC_DNS}`) +
			web("front.test") + originated("led", "led.test") +
			object("VirtualService", "front", `{hosts: [front.test], http: [{route: [{destination: {host: led.test}}]}]}`) +
			rule("led.test", ``) +
			rule("own.test", ``) +
			rule("sni.test", `, sni: other.internal`) + // the name that is checked, too
			rule("san.test", `, subjectAltNames: [x.internal, san.internal]`) +
			rule("wrong.test", `, subjectAltNames: [wrong.test]`) +
			rule("*.wild.test", ``))
		asksFor(p, "own.test", "own.test")
		asksFor(p, "sni.test", "other.internal")
		asksFor(p, "san.test", "san.test")
		asksFor(p, "a.wild.test", "a.wild.test")
		for _, v := range egress.Versions {
			if a := p.Ask(egress.Request{URL: "http://front.test", Version: v}).Want("200 led.test"); a.Server.SNI != "front.test" { // the request's Host
				p.T.Errorf("%s: %+v", v, a.Server)
			}
			a := p.Ask(egress.Request{URL: "http://wrong.test", Version: v})
			if tlsFailed(p, "another's certificate", a); !strings.Contains(a.Body, "CERTIFICATE_VERIFY_FAILED") {
				p.T.Errorf("%s", a)
			}
		}
	})
}

func TestDestinationRuleTLSFiles(t *testing.T) {
	t.Parallel()
	row(t, "DR.tls.files", func(p *egress.Pod) {
		for _, host := range []string{"trusted.test", "system.test", "unset.test", "other.test"} {
			p.Net.WebTLS(host, 443, nil)
		}
		p.Net.WebTLS("mutual.test", 443, nil, p.Net.AskForCertificate)
		rule := func(host, more string) string {
			return object("DestinationRule", host, `{host: `+host+`, trafficPolicy: {tls: {`+more+`}}}`)
		}
		p.Apply(originated("default", "trusted.test", "system.test", "unset.test", "other.test", "mutual.test") +
			rule("trusted.test", `mode: SIMPLE, caCertificates: {{ca}}`) +
			rule("system.test", `mode: SIMPLE, caCertificates: system`) +
			rule("unset.test", `mode: SIMPLE`) +
			rule("other.test", `mode: SIMPLE, caCertificates: {{cert "no authority"}}`) +
			rule("mutual.test", `mode: MUTUAL, caCertificates: {{ca}}, clientCertificate: {{cert "billing"}}, privateKey: {{key "billing"}}`))
		for _, v := range egress.Versions {
			ask := func(host string) *egress.Answer { return p.Ask(egress.Request{URL: "http://" + host, Version: v}) }
			ask("trusted.test").Want("200 trusted.test")
			for _, host := range []string{"system.test", "unset.test", "other.test"} { // which do not know the authority
				tlsFailed(p, host, ask(host))
			}
			if a := ask("mutual.test").Want("200 mutual.test"); a.Server.Client != "billing" {
				p.T.Errorf("%s: %+v", v, a.Server)
			}
		}
		// What stands in a file is looked at anew.
		bundle := filepath.Join(p.T.TempDir(), "ca.pem")
		fill := func(file string) {
			data, err := os.ReadFile(file)
			egress.Must(p.T, err)
			egress.Must(p.T, os.WriteFile(bundle+".new", data, 0o644))
			egress.Must(p.T, os.Rename(bundle+".new", bundle))
		}
		p.Net.WebTLS("renewed.test", 443, nil)
		p.Apply(originated("default", "renewed.test") + rule("renewed.test", "mode: SIMPLE, caCertificates: "+bundle))
		tlsFailed(p, "a file that is not there", p.Get("http://renewed.test"))
		fill(p.Net.CA)
		p.Get("http://renewed.test").Want("200 renewed.test")
	})
}

func TestDestinationRuleInsecureSkipVerify(t *testing.T) {
	t.Parallel()
	row(t, "DR.tls.insecureSkipVerify", func(p *egress.Pod) {
		for _, host := range []string{"skip.test", "check.test"} {
			p.Net.WebTLS(host, 443, nil, p.Net.CertificateFor("stranger.internal"))
		}
		p.Apply(originated("default", "skip.test", "check.test") +
			object("DestinationRule", "skip", `{host: skip.test, trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true}}}`) +
			object("DestinationRule", "check", `{host: check.test, trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: false}}}`))
		asksFor(p, "skip.test", "skip.test")
		for _, v := range egress.Versions {
			tlsFailed(p, "false", p.Ask(egress.Request{URL: "http://check.test", Version: v}))
		}
		for _, beside := range []string{"caCertificates: {{ca}}", "subjectAltNames: [a.test]"} {
			if issues := p.Offer(object("DestinationRule", "w", `{host: skip.test, trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true, `+beside+`}}}`)); !issues.HasErrors() {
				p.T.Errorf("%s: %s", beside, issues)
			}
		}
	})
}
