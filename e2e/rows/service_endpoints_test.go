package rows

import (
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

func TestServiceEntryEndpoints(t *testing.T) {
	t.Parallel()
	row(t, "SE.endpoints", func(p *egress.Pod) {
		p.Net.Web("one.test", 8081, nil)
		p.Net.Web("two.test", 80, nil)
		p.Apply(object("ServiceEntry", "both", `{hosts: [both.test], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}],
  endpoints: [{address: '{{v4 "one.test"}}', weight: 3, ports: {http: 8081}}, {address: '{{v6 "two.test"}}'}]}`))
		for _, v := range egress.Versions {
			about(p, string(v), shares(p, 200, func() *egress.Answer {
				return p.Ask(egress.Request{URL: "http://both.test", Version: v, At: "203.0.113.9:80"})
			}), "200 one.test", "200 two.test")
		}
		if issues := p.Offer(object("ServiceEntry", "both", `{hosts: [both.test], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}],
  endpoints: [{address: '{{v4 "one.test"}}', ports: {other: 8081}}]}`)); !issues.HasErrors() {
			p.T.Errorf("a port that the entry does not name: %s", issues)
		}
	})
}

func TestServiceEntryLocation(t *testing.T) {
	t.Parallel()
	location := func(p *egress.Pod, value string) int {
		p.Net.Web("one.test", 80, nil)
		issues := p.Apply(object("ServiceEntry", "one", `{hosts: [one.test], location: `+value+`, resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}`))
		p.Get("http://one.test").Want("200 one.test")
		return len(issues)
	}
	row(t, "SE.location", func(p *egress.Pod) {
		if n := location(p, "MESH_EXTERNAL"); n != 0 {
			p.T.Errorf("%d issues", n)
		}
	})
	row(t, "SE.location.MESH_INTERNAL", func(p *egress.Pod) {
		if n := location(p, "MESH_INTERNAL"); n != 1 {
			p.T.Errorf("%d issues", n)
		}
	})
}

func TestServiceEntryExportTo(t *testing.T) {
	t.Parallel()
	for namespace, want := range map[string]string{"team": "own all named", "other": "all", "third": "all named"} {
		o := egress.Options{}
		o.Workload.Namespace = namespace
		rowWith(t, "SE.exportTo", o, func(p *egress.Pod) {
			var entries string
			for name, exportTo := range map[string]string{"own": "[.]", "all": "['*']", "named": "[team, third]", "nobody": "['~']"} {
				p.Net.Web(name+".test", 80, nil)
				entries += "\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: " + name + ", namespace: team}\n" +
					"spec: {hosts: [" + name + ".test], exportTo: " + exportTo + ", resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}\n---\n"
			}
			p.Apply(entries)
			got := ""
			for _, name := range []string{"own", "all", "named", "nobody"} {
				for _, v := range egress.Versions {
					switch a := p.Ask(egress.Request{URL: "http://" + name + ".test", Version: v}); {
					case a.Status == 200 && v == egress.HTTP1:
						got += " " + name
					case a.Status != 200:
						a.Want("502 -")
					}
				}
			}
			if got != " "+want {
				p.T.Errorf("the namespace %s sees%s, want %s", namespace, got, want)
			}
		})
	}
}

func TestServiceEntrySubjectAltNames(t *testing.T) {
	t.Parallel()
	row(t, "SE.subjectAltNames", func(p *egress.Pod) {
		p.Net.WebTLS("one.test", 443, nil, p.Net.CertificateFor("service.internal"))
		for _, c := range []struct{ entry, rule, want string }{
			{"", "", "503"}, // the certificate is not for one.test
			{"subjectAltNames: [service.internal], ", "", "200"},
			{"subjectAltNames: [other.internal, service.internal], ", "", "200"},
			{"subjectAltNames: [other.internal], ", "", "503"},
			{"subjectAltNames: [other.internal], ", ", subjectAltNames: [service.internal]", "200"}, // the rule's list replaces it
			{"subjectAltNames: [service.internal], ", ", subjectAltNames: [other.internal]", "503"},
		} {
			p.Apply(object("ServiceEntry", "one", `{hosts: [one.test], `+c.entry+`resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}]}`) +
				object("DestinationRule", "one", `{host: one.test, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: {{ca}}`+c.rule+`}}}`))
			for _, v := range egress.Versions {
				a := p.Ask(egress.Request{URL: "http://one.test", Version: v})
				if got := a.String(); got[:3] != c.want {
					p.T.Errorf("%+v: %s", c, got)
				}
				if a.Status == 200 && a.Server.SNI != "one.test" {
					p.T.Errorf("the server was asked for %q", a.Server.SNI)
				}
			}
		}
	})
}

func TestServiceEntryStatusAddresses(t *testing.T) {
	t.Parallel()
	row(t, "SE.status.addresses", func(p *egress.Pod) {
		p.Net.TCP("db.test", 5432, nil)
		issues := p.Apply(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db}
spec: {hosts: [db.test], resolution: DNS, ports: [{number: 5432, name: db, protocol: TCP}]}
status: {addresses: [{host: db.test, value: 240.240.0.9}]}
`)
		if len(issues) != 1 {
			p.T.Errorf("%s", issues)
		}
		p.Say("db.test:5432", "").Want("db.test")
	})
}
