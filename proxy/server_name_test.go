package proxy_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
)

// Who decides which name is asked for, and which the certificate must have: the rule,
// before the ServiceEntry, before the request.
func TestServerNamesComeFromTheRuleTheEntryOrTheRequest(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	const led = `
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v}
spec:
  hosts: [front.test, "*.front.test"]
  http: [{route: [{destination: {host: www.test}}]}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: front}
spec:
  hosts: [front.test, "*.front.test"]
  ports: [{number: 443, name: p, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {p: 1}}]
`
	const rewritten = `
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v}
spec:
  hosts: [www.test]
  http: [{rewrite: {authority: "New.test:8443"}}]
`
	for name, c := range map[string]struct {
		rule        string // more of the DestinationRule's tls
		entry       string // more of the ServiceEntry
		host        string // that is registered; default www.test
		asked       string // that is asked for; default the same
		certificate string
		more        string // more objects
		sni         string // "" for a failure
	}{
		"the host":                                {certificate: "www.test", sni: "www.test"},
		"the host, however it is written":         {asked: "WWW.test.:443", certificate: "www.test", sni: "www.test"},
		"a host below a wildcard":                 {host: "*.wild.test", asked: "a.b.wild.test", certificate: "a.b.wild.test", sni: "a.b.wild.test"},
		"not the wildcard itself":                 {host: "*.wild.test", asked: "a.b.wild.test", certificate: "*.wild.test"},
		"the host that was asked for, led away":   {asked: "front.test", certificate: "front.test", more: led, sni: "front.test"},
		"not where it is led":                     {asked: "front.test", certificate: "www.test", more: led},
		"one below a wildcard, led away":          {asked: "x.front.test", certificate: "*.front.test", more: led, sni: "x.front.test"},
		"the rule's, led away":                    {asked: "front.test", rule: ", sni: www.test", certificate: "www.test", more: led, sni: "www.test"},
		"the host as it is rewritten":             {certificate: "New.test", more: rewritten, sni: "new.test"},
		"not as it was":                           {certificate: "www.test", more: rewritten},
		"the rule's before a rewritten host":      {rule: ", sni: other.test", certificate: "other.test", more: rewritten, sni: "other.test"},
		"rewritten below a wildcard":              {host: "*.wild.test", asked: "a.wild.test", certificate: "new.test", more: strings.Replace(rewritten, "www.test", `"*.wild.test"`, 1), sni: "new.test"},
		"the host, an address":                    {entry: "  addresses: [203.0.113.1]\n", asked: "203.0.113.1", certificate: "www.test", sni: "www.test"},
		"the rule's":                              {rule: ", sni: other.test", certificate: "other.test", sni: "other.test"},
		"the rule's, and not the host's":          {rule: ", sni: other.test", certificate: "www.test"},
		"the rule's below a wildcard":             {host: "*.wild.test", asked: "a.wild.test", rule: ", sni: other.test", certificate: "other.test", sni: "other.test"},
		"the rule's names":                        {rule: ", subjectAltNames: [x.test, y.test]", certificate: "y.test", sni: "www.test"},
		"the rule's names, and not the host":      {rule: ", subjectAltNames: [x.test]", certificate: "www.test"},
		"the rule's names, and not its sni":       {rule: ", sni: other.test, subjectAltNames: [x.test]", certificate: "other.test"},
		"both of the rule's":                      {rule: ", sni: other.test, subjectAltNames: [x.test]", certificate: "x.test", sni: "other.test"},
		"the entry's names":                       {entry: "  subjectAltNames: [x.test]\n", certificate: "x.test", sni: "www.test"},
		"the entry's names, and not the host":     {entry: "  subjectAltNames: [x.test]\n", certificate: "www.test"},
		"the rule's names before the entry's":     {entry: "  subjectAltNames: [x.test]\n", rule: ", subjectAltNames: [y.test]", certificate: "y.test", sni: "www.test"},
		"the rule's names instead of the entry's": {entry: "  subjectAltNames: [x.test]\n", rule: ", subjectAltNames: [y.test]", certificate: "x.test"},
		"the entry's names, and the rule's sni":   {entry: "  subjectAltNames: [x.test]\n", rule: ", sni: other.test", certificate: "x.test", sni: "other.test"},
		"a name, under a wildcard of the server":  {certificate: "*.test", sni: "www.test"},
		"a wildcard that is named as it is":       {rule: `, subjectAltNames: ["*.test"]`, certificate: "*.test", sni: "www.test"},
		"not a name below it":                     {rule: ", subjectAltNames: [a.b.test]", certificate: "*.test"},
	} {
		for _, protocol := range []string{"HTTP", "HTTP2"} {
			t.Run(protocol+" "+name, func(t *testing.T) {
				t.Parallel()
				host := c.host
				if host == "" {
					host = "www.test"
				}
				asked := c.asked
				if asked == "" {
					asked = host
				}
				up := nameServer(t, a, c.certificate)
				r := newRig(t, mesh.RegistryOnly, static("a", host, protocol, 443, up)+c.entry+c.more+
					destinationRule(host, "mode: SIMPLE, caCertificates: "+a.file+c.rule))
				r.to("203.0.113.1:443")
				for _, client := range []*http.Client{r.client(), r.h2Client()} {
					req, _ := http.NewRequest("GET", "http://www.test:443/", nil)
					req.Host = asked
					resp, body := fetch(t, client, req)
					if c.sni == "" {
						if resp.StatusCode != 503 || !strings.Contains(body, "CERTIFICATE_VERIFY_FAILED: the certificate is for "+c.certificate) {
							t.Errorf("%s: %d %q", resp.Proto, resp.StatusCode, body)
						}
						continue
					}
					if resp.StatusCode != 200 || body != "sni="+c.sni {
						t.Errorf("%s: %d %q, want %s", resp.Proto, resp.StatusCode, body, c.sni)
					}
				}
			})
		}
	}
}

// nameServer speaks HTTP/1.1 and HTTP/2 over TLS, and says which name it was asked for.
func nameServer(t *testing.T, a *authority, names ...string) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "sni=%s", r.TLS.ServerName) }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(t, names...)}}
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}
