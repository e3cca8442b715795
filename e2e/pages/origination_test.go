package pages

import (
	"net/http"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/mesh"
)

// The task "Egress TLS Origination".

func TestTLSOriginationForEgressTraffic(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Net.Web("news.example", 80, http.RedirectHandler("https://news.example/politics", http.StatusMovedPermanently))
	p.Net.WebTLS("news.example", 443, nil)
	p.Apply(fixture(t, "origination-before"))
	for _, v := range egress.Versions {
		a := p.Ask(egress.Request{URL: "http://news.example/politics", Version: v}).Want("301 news.example")
		if a.Header.Get("Location") != "https://news.example/politics" {
			t.Errorf("%v", a.Header)
		}
	}
	both(p, "https://news.example/politics", "200 news.example")

	p.Apply(fixture(t, "origination-simple"))
	for _, v := range egress.Versions { // the first and only answer
		a := p.Ask(egress.Request{URL: "http://news.example/politics", Version: v}).Want("200 news.example")
		if s := a.Server; !s.TLS || s.SNI != "news.example" || s.Host != "news.example" || s.Path != "/politics" {
			t.Errorf("%+v", s)
		}
	}
	both(p, "https://news.example/politics", "200 news.example") // as before
}

func TestMutualTLSOriginationForEgressTraffic(t *testing.T) {
	t.Parallel()
	const host = "ledger.outside.svc.cluster.local"
	for app, want := range map[string]bool{"shop": true, "other": false} {
		t.Run(app, func(t *testing.T) {
			t.Parallel()
			p := egress.New(t, egress.Options{Workload: mesh.Workload{Labels: map[string]string{"app": app}}})
			p.Net.WebTLS(host, 30443, nil, p.Net.AskForCertificate)
			p.Credential("ledger-client", map[string]string{"tls.crt": `{{cert "client.example"}}`, "tls.key": `{{key "client.example"}}`, "ca.crt": `{{ca}}`})
			p.Apply(fixture(t, "origination-mutual"))
			for _, v := range egress.Versions {
				a := p.Ask(egress.Request{URL: "http://" + host + ":30443", Version: v})
				if !want { // the rule's workloadSelector names another workload: plain HTTP, to a server of TLS
					if a.Status == 200 {
						t.Errorf("%s: %s", v, a)
					}
					continue
				}
				if a.Want("200 " + host); a.Server.Client != "client.example" || a.Server.SNI != host {
					t.Errorf("%s: %+v", v, a.Server)
				}
			}
		})
	}
}
