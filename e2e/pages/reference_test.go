package pages

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/mesh"
)

// The reference of ServiceEntry.

func TestReferenceHostsByServerName(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Apply(fixture(t, "reference-names"))
	for _, host := range []string{"api.files.example", "www.search.example", "api.people.example"} {
		p.Net.WebTLS(host, 443, nil)
		p.Handshake(host+":443", host).Want(host).Line()
	}
	p.Net.WebTLS("other.example", 443, nil)
	p.Handshake("other.example:443", "other.example").Want("reset")
	p.Handshake("other.example:443", "api.files.example").Want("api.files.example") // resolution DNS
}

func TestReferenceDatabasesWithMutualTLS(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	for _, host := range []string{"library-1.example", "library-2.example"} {
		c := &tls.Config{Certificates: []tls.Certificate{p.Net.Certificate("library.example")}}
		p.Net.AskForCertificate(c)
		for _, a := range p.Net.Name(host) {
			p.Net.Serve(tls.NewListener(p.Net.Listen(netip.AddrPortFrom(a, 27018).String()), c), func(conn net.Conn) {
				if s := conn.(*tls.Conn); s.Handshake() == nil {
					io.WriteString(s, s.ConnectionState().PeerCertificates[0].Subject.CommonName+" at "+host)
				}
			})
		}
	}
	issues := p.Apply(fixture(t, "reference-mongo"))
	if !strings.Contains(issues.String(), "MESH_INTERNAL") {
		t.Errorf("%s", issues)
	}
	got := map[string]int{}
	for range 20 {
		got[p.Say("198.51.100.70:27018", "").String()]++
	}
	if got["shop at library-1.example"]+got["shop at library-2.example"] != 20 || len(got) != 2 {
		t.Errorf("%v", got)
	}
	p.Say("198.51.100.10:27018", "").Want("reset") // outside of the addresses
}

func TestReferenceFirewall(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Net.WebTLS("firewall.outside.svc.cluster.local", 443, nil)
	p.Apply(fixture(t, "reference-firewall"))
	for _, host := range []string{"dictionary.example", "en.dictionary.example"} {
		p.Net.WebTLS(host, 443, nil)
		p.Handshake(host+":443", host).Want("firewall.outside.svc.cluster.local").
			Line()
		if p.Net.Connections(host) != 0 {
			t.Errorf("%s itself was reached", host)
		}
	}
}

func TestReferenceEgressGatewayIsReported(t *testing.T) {
	t.Parallel()
	for namespace, want := range map[string]string{"default": "502 -", "egress": "503 NC"} {
		t.Run(namespace, func(t *testing.T) {
			t.Parallel()
			p := egress.New(t, egress.Options{Workload: mesh.Workload{Namespace: namespace}})
			p.Net.Web("hidden.example", 80, nil)
			said := p.Apply(fixture(t, "reference-gateway")).Of(mesh.Warning).String()
			for _, want := range []string{"Gateway", "istio-egressgateway.istio-system.svc.cluster.local"} {
				if !strings.Contains(said, want) {
					t.Errorf("%q is not warned of:\n%s", want, said)
				}
			}
			both(p, "http://hidden.example", want)
		})
	}
}

func TestReferenceWildcard(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Net.Web("one.shops.example", 80, nil)
	p.Net.Web("two.shops.example", 80, nil)
	p.Net.Name("both.shops.example", p.Net.Lookup("one.shops.example", "IPv4"), p.Net.Lookup("two.shops.example", "IPv4"))
	p.Apply(fixture(t, "reference-wildcard"))
	both(p, "http://one.shops.example", "200 one.shops.example")
	for _, host := range []string{"one.shops.example", "two.shops.example"} { // where the client went
		for range 3 {
			p.Ask(egress.Request{URL: "http://both.shops.example", At: p.Net.Lookup(host, "IPv4") + ":80"}).Want("200 " + host)
		}
	}
}

func TestReferenceRegions(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	for host, port := range map[string]int{"us.quotes.example": 8080, "uk.quotes.example": 9080, "in.quotes.example": 7080} {
		p.Net.Web(host, port, nil)
	}
	p.Apply(fixture(t, "reference-regions"))
	for _, v := range egress.Versions {
		got := map[string]int{}
		for range 60 {
			// quotes.example has no address: the application's proxy variable leads it to
			// where it is captured.
			a := p.Ask(egress.Request{URL: "http://quotes.example/baz", Version: v, At: p.Net.Lookup("us.quotes.example", "IPv4") + ":80"})
			if got[a.String()]++; a.Server.Host != "quotes.example" || a.Server.Path != "/baz" {
				t.Errorf("%+v", a.Server)
			}
		}
		if len(got) != 3 || got["200 us.quotes.example"] == 0 || got["200 uk.quotes.example"] == 0 || got["200 in.quotes.example"] == 0 {
			t.Errorf("%s: %v", v, got)
		}
	}
}

func TestReferenceIdentity(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{Workload: mesh.Workload{Namespace: "bank"}})
	p.Net.WebTLS("identity-1.example", 443, nil, p.Net.CertificateFor("spiffe://cluster.local/ns/bank/sa/ledger"))
	p.Net.WebTLS("identity-2.example", 443, nil, p.Net.CertificateFor("spiffe://cluster.local/ns/bank/sa/other"))
	p.Apply(fixture(t, "reference-spiffe"))
	at := p.Net.Lookup("identity-1.example", "IPv4") + ":80"
	for _, v := range egress.Versions {
		for range 10 {
			if a := p.Ask(egress.Request{URL: "http://identity.example", Version: v, At: at}); a.Status == 200 && a.Server.Name != "identity-1.example" {
				t.Errorf("%s", a)
			}
		}
	}
	if len(p.Net.Seen("identity-1.example")) == 0 || len(p.Net.Seen("identity-2.example")) != 0 {
		t.Error("the identity does not decide")
	}
}

func TestReferenceOfWhatIsRefused(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	for name, want := range map[string]string{"reference-unix": "unix:", "reference-workloads": "workloadSelector"} {
		if errors := p.Offer(fixture(t, name)).Of(mesh.Error).String(); !strings.Contains(errors, want) {
			t.Errorf("%s: %s", name, errors)
		}
	}
}
