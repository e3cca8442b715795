package rows

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/mesh"
)

func TestDestinationRuleCredentialName(t *testing.T) {
	t.Parallel()
	rowWith(t, "DR.tls.credentialName", egress.Options{Workload: mesh.Workload{Namespace: "shop"}}, func(p *egress.Pod) {
		for _, host := range []string{"simple.test", "missing.test"} {
			p.Net.WebTLS(host, 443, nil)
		}
		for _, host := range []string{"mutual.test", "scheme.test"} {
			p.Net.WebTLS(host, 443, nil, p.Net.AskForCertificate)
		}
		p.Credential("roots", map[string]string{"cacert": `{{ca}}`})
		p.Credential("pair", map[string]string{"tls.crt": `{{cert "payments"}}`, "tls.key": `{{key "payments"}}`})
		p.Credential("pair-cacert", map[string]string{"ca.crt": `{{ca}}`})
		rule := func(host, tls string) string {
			return object("DestinationRule", host, `{host: `+host+`, trafficPolicy: {tls: {`+tls+`}}}`)
		}
		p.Apply(originated("default", "simple.test", "missing.test", "mutual.test", "scheme.test") +
			rule("simple.test", "mode: SIMPLE, credentialName: roots") +
			rule("missing.test", "mode: SIMPLE, credentialName: nobodys") +
			rule("mutual.test", "mode: MUTUAL, credentialName: pair") +
			rule("scheme.test", "mode: MUTUAL, credentialName: kubernetes://pair"))
		for _, v := range egress.Versions {
			ask := func(host string) *egress.Answer { return p.Ask(egress.Request{URL: "http://" + host, Version: v}) }
			ask("simple.test").Want("200 simple.test")
			for _, host := range []string{"mutual.test", "scheme.test"} {
				if a := ask(host).Want("200 " + host); a.Server.Client != "payments" {
					p.T.Errorf("%s, %s: %+v", host, v, a.Server)
				}
			}
			a := ask("missing.test")
			if tlsFailed(p, "missing", a); !strings.Contains(a.Body, `credential "shop/nobodys"`) || !strings.Contains(p.Log.String(), "shop/nobodys") {
				p.T.Errorf("%s\n%s", a, p.Log.String())
			}
		}
		p.Credential("nobodys", map[string]string{"cacert": `{{ca}}`})
		p.Get("http://missing.test").Want("200 missing.test")
		for what, wrong := range map[string]string{
			"a ConfigMap":       "mode: SIMPLE, credentialName: configmap://roots",
			"files beside":      "mode: SIMPLE, credentialName: roots, caCertificates: {{ca}}",
			"another namespace": "mode: SIMPLE, credentialName: kubernetes://other/roots",
			"and no look":       "mode: SIMPLE, credentialName: roots, insecureSkipVerify: true",
		} {
			if issues := p.Offer(object("DestinationRule", "w", `{host: simple.test, trafficPolicy: {tls: {`+wrong+`}}}`)); !issues.HasErrors() {
				p.T.Errorf("%s: %s", what, issues)
			}
		}
	})
}

func TestDestinationRuleRevocation(t *testing.T) {
	t.Parallel()
	row(t, "DR.tls.caCrl", func(p *egress.Pod) {
		for _, host := range []string{"good.test", "revoked.test", "credential.test"} {
			p.Net.WebTLS(host, 443, nil)
		}
		p.Credential("listed", map[string]string{"ca.crt": `{{ca}}`, "ca.crl": `{{crl "credential.test"}}`})
		rule := func(host, tls string) string {
			return object("DestinationRule", host, `{host: `+host+`, trafficPolicy: {tls: {mode: SIMPLE, `+tls+`}}}`)
		}
		p.Apply(originated("default", "good.test", "revoked.test", "credential.test") +
			rule("good.test", `caCertificates: {{ca}}, caCrl: {{crl "revoked.test"}}`) +
			rule("revoked.test", `caCertificates: {{ca}}, caCrl: {{crl "revoked.test"}}`) +
			rule("credential.test", "credentialName: listed"))
		for _, v := range egress.Versions {
			p.Ask(egress.Request{URL: "http://good.test", Version: v}).Want("200 good.test")
			for _, host := range []string{"revoked.test", "credential.test"} {
				a := p.Ask(egress.Request{URL: "http://" + host, Version: v})
				if tlsFailed(p, host, a); !strings.Contains(a.Body, "was revoked") {
					p.T.Errorf("%s", a)
				}
			}
		}
	})
}
