package e2e

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/vip"
)

// Where the pod believes its resolver to be: nobody is there.
var clusterDNS = map[string]string{"IPv4": "10.96.0.10:53", "IPv6": "[fd96::a]:53"}

const databases = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: one}
spec:
  hosts: [db.example.com]
  ports: [{number: 5432, name: db, protocol: TCP}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: two}
spec:
  hosts: [elsewhere.net]
  ports: [{number: 5432, name: db, protocol: TCP}]
  resolution: DNS
`

// ask puts a question to the pod's resolver. The socket is connected, so that an
// answer from any other address than the one asked would not arrive.
func (p *pod) ask(network, family, name string) *mdns.Msg {
	p.T.Helper()
	c, err := p.NS.Dial(p.T.Context(), network, clusterDNS[family])
	must(p.T, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(await.Patience))
	q := new(mdns.Msg).SetQuestion(mdns.Fqdn(name), map[string]uint16{"IPv4": mdns.TypeA, "IPv6": mdns.TypeAAAA}[family])
	m, _, err := new(mdns.Client).ExchangeWithConn(q, &mdns.Conn{Conn: c})
	must(p.T, err)
	return m
}

// address is the one address that a name is answered with.
func (p *pod) address(network, family, name string) netip.Addr {
	p.T.Helper()
	var found []netip.Addr
	for _, rr := range p.ask(network, family, name).Answer {
		var ip net.IP
		switch rr := rr.(type) {
		case *mdns.A:
			ip = rr.A
		case *mdns.AAAA:
			ip = rr.AAAA
		}
		if a, ok := netip.AddrFromSlice(ip); ok {
			found = append(found, a.Unmap())
		}
	}
	if len(found) != 1 {
		p.T.Fatalf("%s over %s and %s: %v", name, network, family, found)
	}
	return found[0]
}

func TestTwoDatabasesOnOnePortAreToldApartByName(t *testing.T) {
	t.Parallel()
	// No range is included: the virtual ones alone are captured.
	p := newPod(t, mesh.RegistryOnly, map[string]string{"dnsCapture": "true", "includeIPRanges": ""})
	p.Write("db.yaml", databases)
	for _, family := range []string{"IPv4", "IPv6"} {
		await.True(t, "the names are registered", func() bool {
			m := p.ask("udp", family, "elsewhere.net")
			return len(m.Answer) == 1 && m.Authoritative
		})
		for _, name := range []string{"db.example.com", "elsewhere.net"} {
			at := p.address("udp", family, name)
			if !vip.Contains(at) || p.address("tcp", family, name) != at {
				t.Errorf("%s: %s", name, at)
			}
			if got := p.greeting(netip.AddrPortFrom(at, 5432)); !inFamilies(got, name) {
				t.Errorf("%s at %s: %q", name, at, got)
			}
			if got := p.greeting(netip.AddrPortFrom(at, 5433)); got != "" {
				t.Errorf("%s at %s, a port that is not registered: %q", name, at, got)
			}
		}
		// The host that is not registered is asked for, and direct.
		if got := p.address("udp", family, "httpbin.org").String(); got != p.net.Lookup("httpbin.org", family) {
			t.Errorf("httpbin.org is at %s", got)
		}
	}
}

// greeting is what a server that speaks first says, "" where the connection ends
// before it does.
func (p *pod) greeting(at netip.AddrPort) string {
	ctx, cancel := context.WithTimeout(p.T.Context(), await.Patience)
	defer cancel()
	c, err := p.NS.Dial(ctx, "tcp", at.String())
	if err != nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(await.Patience))
	b, _ := io.ReadAll(c)
	return string(b)
}

func inFamilies(greeting, name string) bool {
	return greeting == "welcome to "+net.JoinHostPort(names[name][0], "5432") || greeting == "welcome to "+net.JoinHostPort(names[name][1], "5432")
}

func TestAVirtualAddressStaysThroughChanges(t *testing.T) {
	t.Parallel()
	p := newPod(t, mesh.RegistryOnly, map[string]string{"dnsCapture": "true"})
	p.Write("db.yaml", databases)
	registered := func() bool { return p.ask("udp", "IPv4", "elsewhere.net").Authoritative }
	await.True(t, "the names are registered", registered)
	before := p.address("udp", "IPv4", "elsewhere.net")
	p.Write("db.yaml", "")
	await.True(t, "the names are gone", func() bool { return !registered() })
	if got := p.greeting(netip.AddrPortFrom(before, 5432)); got != "" {
		t.Errorf("the address of a name that is gone: %q", got)
	}
	p.Write("db.yaml", databases)
	await.True(t, "the names are back", registered)
	if after := p.address("udp", "IPv4", "elsewhere.net"); after != before {
		t.Errorf("%s became %s", before, after)
	}
	if got := p.greeting(netip.AddrPortFrom(before, 5432)); !inFamilies(got, "elsewhere.net") {
		t.Errorf("got %q", got)
	}
}

func TestNamesThatNobodyRegistersDoNotLeaveUnderPolicy(t *testing.T) {
	t.Parallel()
	p := newPod(t, mesh.RegistryOnly, map[string]string{"dnsCapture": "true"}, onlyRegisteredNames)
	p.Write("db.yaml", databases)
	await.True(t, "the names are registered", func() bool { return p.ask("udp", "IPv4", "db.example.com").Authoritative })
	for _, family := range []string{"IPv4", "IPv6"} {
		for _, network := range []string{"udp", "tcp"} {
			if m := p.ask(network, family, "httpbin.org"); m.Rcode != mdns.RcodeNameError {
				t.Errorf("over %s and %s: %s", network, family, m)
			}
		}
	}
}
