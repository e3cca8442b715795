package rows

import (
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

func TestServiceEntryHosts(t *testing.T) {
	t.Parallel()
	row(t, "SE.hosts", func(p *egress.Pod) {
		for _, host := range []string{"one.test", "two.test", "wild.test", "a.wild.test", "c.b.wild.test", "own.b.wild.test", "stranger.test"} {
			p.Net.Web(host, 80, nil)
			p.Net.WebTLS(host, 443, nil)
		}
		both := `ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]`
		p.Apply(object("ServiceEntry", "exact", `{hosts: [one.test, two.test], resolution: NONE, `+both+`}`) +
			object("ServiceEntry", "wild", `{hosts: ["*.wild.test"], resolution: NONE, `+both+`}`) +
			object("ServiceEntry", "deeper", `{hosts: ["*.b.wild.test"], resolution: NONE, `+both+`}`) +
			object("ServiceEntry", "own", `{hosts: [own.b.wild.test], resolution: NONE, `+both+`}`))
		for _, c := range []struct{ host, cluster string }{
			{"one.test", "one.test"},
			{"two.test", "two.test"},
			{"a.wild.test", "*.wild.test"}, // at any depth
			{"c.b.wild.test", "*.b.wild.test"},
			{"own.b.wild.test", "own.b.wild.test"}, // exact before the longest wildcard
			{"wild.test", ""},                      // never the bare domain
			{"stranger.test", ""},
		} {
			if c.cluster == "" {
				for _, v := range egress.Versions {
					p.Ask(egress.Request{URL: "http://" + c.host, Version: v}).Want("502 -")
				}
				p.Handshake(c.host+":443", c.host).Want("reset")
				continue
			}
			for _, v := range egress.Versions {
				p.Ask(egress.Request{URL: "http://" + c.host, Version: v}).Want("200 "+c.host).WantLine("-", "outbound|80||"+c.cluster)
				p.Ask(egress.Request{URL: "https://" + c.host, Version: v}).Want("200 " + c.host)
			}
			if l := p.Handshake(c.host+":443", c.host).Want(c.host).Line(); l.Cluster != "outbound|443||"+c.cluster {
				p.T.Errorf("TLS to %s: %s", c.host, l.Text)
			}
		}
		for _, spelling := range []string{"ONE.test", "one.test.", "one.test:80", "one.test:8080", "oNe.tesT.:1"} {
			p.Ask(egress.Request{URL: "http://one.test", Header: map[string]string{"Host": spelling}}).Want("200 one.test")
		}
	})
}
