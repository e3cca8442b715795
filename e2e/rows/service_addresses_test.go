package rows

import (
	"net"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

func TestServiceEntryAddresses(t *testing.T) {
	t.Parallel()
	row(t, "SE.addresses", func(p *egress.Pod) {
		for _, host := range []string{"alone.test", "range.test", "behind.test", "stranger.test"} {
			p.Net.TCP(host, 5432, nil)
			p.Net.Web(host, 80, nil)
		}
		p.Net.Name("inrange.test", "198.51.100.130", "2001:db8:1::82")
		p.Net.TCP("inrange.test", 5432, nil)
		tcp := `ports: [{number: 5432, name: db, protocol: TCP}]`
		p.Apply(object("ServiceEntry", "alone", `{hosts: [db.alone], addresses: ['{{v4 "alone.test"}}', '{{v6 "alone.test"}}'], `+tcp+`}`) +
			object("ServiceEntry", "range", `{hosts: [db.range], addresses: [198.51.100.128/26, "2001:db8:1::/48"], `+tcp+`}`) +
			object("ServiceEntry", "virtual", `{hosts: [db.virtual], addresses: [198.51.100.7], resolution: STATIC, endpoints: [{address: '{{v4 "behind.test"}}'}], `+tcp+`}`) +
			object("ServiceEntry", "within", `{hosts: [db.within], addresses: [198.51.100.129], resolution: STATIC, endpoints: [{address: '{{v4 "behind.test"}}'}], `+tcp+`}`) +
			object("ServiceEntry", "web", `{hosts: [web.virtual], addresses: [198.51.100.8], resolution: STATIC, endpoints: [{address: '{{v4 "behind.test"}}'}], ports: [{number: 80, name: http, protocol: HTTP}]}`))
		for _, family := range []string{"IPv4", "IPv6"} {
			at := func(host string) string { return net.JoinHostPort(p.Net.Lookup(host, family), "5432") }
			p.Say(at("alone.test"), "").Want("alone.test").WantLine("-", "outbound|5432||db.alone")
			p.Say(at("inrange.test"), "").Want("inrange.test").WantLine("-", "outbound|5432||db.range")
			p.Say(at("stranger.test"), "").Want("reset")
		}
		p.Say("198.51.100.7:5432", "").Want("behind.test").WantLine("-", "outbound|5432||db.virtual")
		p.Say("198.51.100.129:5432", "").Want("behind.test").WantLine("-", "outbound|5432||db.within") // the longest range
		// For HTTP the addresses are names, wherever the request was sent.
		for _, v := range egress.Versions {
			p.Ask(egress.Request{URL: "http://198.51.100.8", Version: v}).Want("200 behind.test").WantLine("-", "outbound|80||web.virtual")
			p.Ask(egress.Request{URL: "http://198.51.100.9", Version: v}).Want("502 -")
		}
	})
}
