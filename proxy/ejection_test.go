package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// ejecting is a rule for a host whose only endpoint is ejected by the given number of failures.
func ejecting(host, failures, tls string) string {
	return `
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ejecting}
spec: {host: ` + host + `, trafficPolicy: {` + tls + ` outlierDetection: {consecutive5xxErrors: ` + failures + `, baseEjectionTime: 1h, maxEjectionPercent: 100}}}
`
}

// ejectedBy checks that the log, each line of the access log and the list of endpoints name
// what ejected the only endpoint.
func ejectedBy(t *testing.T, r *rig, log, transport, listed string) {
	t.Helper()
	for _, c := range r.server.View().Clusters() {
		for _, e := range r.server.Endpoints(c) {
			if !e.Live.EjectedUntil.IsZero() && !strings.Contains(e.Live.EjectedBy, listed) || e.Live.EjectedUntil.IsZero() && e.Live.EjectedBy != "" {
				t.Errorf("listed: %+v, want %q", e, listed)
			}
		}
	}
	lines := r.finish()
	if said := r.log.String(); !strings.Contains(said, `error="every endpoint is ejected (outlierDetection); the last failure: `) || !strings.Contains(said, log) {
		t.Errorf("the log does not say\n%s:\n%s", log, said)
	}
	for i, line := range lines {
		why, _ := line["upstream_transport_failure_reason"].(string)
		if !strings.Contains(why, transport) || transport == "" && why != "" {
			t.Errorf("line %d: %v, want %q", i, line, transport)
		}
		if transport != "" && line["response_flags"] != "UH" {
			t.Errorf("line %d: %v", i, line)
		}
	}
	if len(lines) == 0 {
		t.Error("no line")
	}
}

// The first request's own tries eject the endpoint, and leave UH for it. The second has no
// try at all. Neither hides why.
func TestWhatEjectedTheLastEndpointIsSaid(t *testing.T) {
	t.Parallel()
	stranger := newAuthority(t).file
	for _, m := range []mode{{"h1", "h1", "h1tls"}, {"h2", "h2", "h2tls"}, {"h1 to h2", "h1", "h2tls"}} {
		t.Run("a certificate, "+m.name, func(t *testing.T) {
			t.Parallel()
			entry, _, _ := strings.Cut(m.serve(t, func(http.ResponseWriter, *http.Request) {}), "\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule")
			r := newRig(t, mesh.RegistryOnly, entry+ejecting("a.example.com", "2", `tls: {mode: SIMPLE, caCertificates: "`+stranger+`"},`))
			client := m.client(r)
			for range 2 {
				resp, body := fetch(t, client, getRequest(t, "http://a.example.com/"))
				if resp.StatusCode != 503 || body != "no healthy upstream" {
					t.Errorf("%d %q", resp.StatusCode, body)
				}
			}
			ejectedBy(t, r, `lacks that authority`, "TLS_error:|CERTIFICATE_VERIFY_FAILED: ", "is not trusted")
		})
	}
	for _, app := range []string{"h1", "h2"} {
		t.Run("no connection, "+app, func(t *testing.T) {
			t.Parallel()
			at := proxy.ClosedPort(t).String()
			r := newRig(t, mesh.RegistryOnly, static("a", "a.example.com", "HTTP", 80, at)+ejecting("a.example.com", "2", ""))
			client := mode{app: app}.client(r)
			for range 2 {
				fetch(t, client, getRequest(t, "http://a.example.com/"))
			}
			ejectedBy(t, r, "dial tcp "+at+": connect: connection refused", "delayed connect error: Connection refused", "dial tcp "+at)
		})
		t.Run("an answer, "+app, func(t *testing.T) {
			t.Parallel()
			up := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
			r := newRig(t, mesh.RegistryOnly, static("a", "a.example.com", "HTTP", 80, up)+ejecting("a.example.com", "1", ""))
			client := mode{app: app}.client(r)
			for range 2 {
				fetch(t, client, getRequest(t, "http://a.example.com/"))
			}
			ejectedBy(t, r, "it answered 500", "", "it answered 500")
		})
	}
	t.Run("TCP", func(t *testing.T) {
		t.Parallel()
		at := proxy.ClosedPort(t).String()
		r := newRig(t, mesh.RegistryOnly, static("a", "a.example.com", "TCP", 80, at)+ejecting("a.example.com", "2", ""))
		for range 2 {
			if _, err := io.ReadAll(r.dial()); !isReset(err) {
				t.Error(err)
			}
		}
		ejectedBy(t, r, "dial tcp "+at+": connect: connection refused", "delayed connect error: Connection refused", "dial tcp "+at)
	})
}

// A connection that ends before its answer ejects by the words of the access log.
func TestAnEndpointThatHangsUpIsEjectedByThatName(t *testing.T) {
	t.Parallel()
	up := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			c.Close()
		}
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "a.example.com", "HTTP", 80, up)+ejecting("a.example.com", "1", ""))
	r.get("http://a.example.com/")
	r.get("http://a.example.com/")
	ejectedBy(t, r, "upstream_reset_before_response_started{connection_termination}", "", "connection_termination")
}
