package pages

import (
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/mesh"
)

// The task "Egress using Wildcard Hosts".

func TestDirectTrafficToAWildcardHost(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	for _, host := range []string{"en.dictionary.example", "de.dictionary.example", "dictionary.example"} {
		p.Net.WebTLS(host, 443, nil)
	}
	p.Apply(fixture(t, "wildcard"))
	both(p, "https://en.dictionary.example/main", "200 en.dictionary.example")
	both(p, "https://de.dictionary.example/main", "200 de.dictionary.example")
	p.Handshake("dictionary.example:443", "dictionary.example").Want("reset")
	// The page warns that an application can go round this. Here it cannot: the name's
	// own server has the connection, whatever address it was made to.
	p.Net.WebTLS("stranger.example", 443, nil)
	p.Handshake("stranger.example:443", "en.dictionary.example").Want("en.dictionary.example")
}

func TestEgressGatewayTrafficToAWildcardHostIsReported(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Net.WebTLS("www.dictionary.example", 443, nil)
	p.Net.WebTLS("en.dictionary.example", 443, nil)
	said := p.Apply(fixture(t, "wildcard-gateway")).Of(mesh.Warning).String()
	for _, want := range []string{"Gateway", "egress.istio-system.svc.cluster.local"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not warned of:\n%s", want, said)
		}
	}
	p.Handshake("en.dictionary.example:443", "en.dictionary.example").Want("reset")
}
