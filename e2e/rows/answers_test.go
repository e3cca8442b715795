package rows

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

// What an application is answered when something is wrong: statuses, bodies and flags
// are Envoy's. These rows are of no resource, so mesh.Rows does not have them.
func TestAnswersToRequestsThatFail(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	const reset = "upstream connect error or disconnect/reset before headers. "
	p.Net.Name("refuses.test")
	p.Net.Record("empty.test")
	p.Net.TCP("closes.test", 80, func(c net.Conn) { c.Read(make([]byte, 4096)) })
	p.Net.TCP("garbage.test", 80, func(c net.Conn) {
		c.Read(make([]byte, 4096))
		io.WriteString(c, "this is no HTTP at all\r\n\r\n")
	})
	p.Net.TCP("dies.test", 80, func(c net.Conn) {
		c.Read(make([]byte, 4096))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	})
	p.Net.WebTLS("tls.test", 443, nil, p.Net.CertificateFor("stranger.internal"))
	p.Net.Web("plain.test", 443, nil)
	p.Net.Web("known.test", 80, nil)
	p.Apply(web("refuses.test", "empty.test", "closes.test", "garbage.test", "dies.test", "known.test") + originated("default", "tls.test", "plain.test") +
		object("DestinationRule", "tls", `{host: tls.test, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: {{ca}}}}}`) +
		object("DestinationRule", "plain", `{host: plain.test, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: {{ca}}}}}`) +
		object("VirtualService", "known", `{hosts: [known.test], http: [{match: [{uri: {prefix: /a}}], route: [{destination: {host: known.test}}]}]}`))
	at := p.Net.Lookup("known.test", "IPv4") + ":80"
	for _, v := range egress.Versions {
		for _, c := range []struct{ host, want, flags, details string }{
			{"stranger.test", "502 ", "-", "direct_response"},
			{"known.test/b", "404 ", "NR", "route_not_found"},
			{"empty.test", "503 no healthy upstream", "UH", "no_healthy_upstream"},
			{"refuses.test", "503 " + reset + "retried and the latest reset reason: remote connection failure, transport failure reason: delayed connect error: Connection refused",
				"UF,URX", ""},
			{"closes.test", "503 " + reset + "reset reason: connection termination", "UC", ""},
			{"garbage.test", "502 " + reset + "reset reason: protocol error", "UPE", ""},
			{"tls.test", "503 " + reset + "retried and the latest reset reason: remote connection failure, transport failure reason: TLS_error:|CERTIFICATE_VERIFY_FAILED*", "UF,URX", ""},
			{"plain.test", "503 " + reset + "retried and the latest reset reason: remote connection failure, transport failure reason: TLS_error:|WRONG_VERSION_NUMBER*", "UF,URX", ""},
		} {
			a := p.Ask(egress.Request{URL: "http://" + c.host, Version: v, At: at})
			got := fmt.Sprintf("%d %s", a.Status, a.Body)
			begin, open := strings.CutSuffix(c.want, "*")
			if l := a.Line(); got != c.want && !(open && strings.HasPrefix(got, begin)) || l.Flags != c.flags || c.details != "" && l.Details != c.details {
				t.Errorf("%s %s: %v %s\n%s", v, c.host, a.Err, got, l.Text)
			}
			if a.Header.Get("Server") != "envoy" || a.Header.Get("Date") == "" {
				t.Errorf("%s %s: %v", v, c.host, a.Header)
			}
			if kind := a.Header.Get("Content-Type"); a.Body != "" && kind != "text/plain" {
				t.Errorf("%s %s: %s", v, c.host, kind)
			}
		}
		// An answer that has begun never seems whole.
		if a := p.Ask(egress.Request{URL: "http://dies.test", Version: v, At: at}); a.Err == nil || a.Line().Flags != "UC" {
			t.Errorf("%s: %+v", v, a)
		}
	}
}

// Bytes that no client library would send.
func TestAnswersToBytes(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Net.Web("known.test", 80, nil)
	p.Apply(web("known.test"))
	for _, c := range []struct{ bytes, want string }{
		{"CONNECT known.test:80 HTTP/1.1\r\nHost: known.test\r\n", "404 Not Found"},
		{"OPTIONS * HTTP/1.1\r\nHost: known.test\r\n", "404 Not Found"},
		{"GET / HTTP/1.1\r\n", "400 Bad Request"},
		{"GET / HTTP/1.1\r\nHost: known.test\r\nHost: known.test\r\n", "400 Bad Request"},
		{"GET  / HTTP/1.1\r\nHost: known.test\r\n", "400 Bad Request"},
		{"GET / HTTP/1.1\r\nHost: known.test\r\nX : y\r\n", "400 Bad Request"},
		{"POST / HTTP/1.1\r\nHost: known.test\r\nContent-Length: +1\r\n", "400 Bad Request"},
		{"POST / HTTP/1.1\r\nHost: known.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n", "400 Bad Request"},
		{"POST / HTTP/1.1\r\nHost: known.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", "400 Bad Request"},
		{"POST / HTTP/1.1\r\nHost: known.test\r\nTransfer-Encoding: gzip, chunked\r\n", "501 Not Implemented"},
		{"GET / HTTP/1.1\r\nHost: known.test\r\nX: " + strings.Repeat("x", 61<<10) + "\r\n", "431 Request Header Fields Too Large"},
		{"GET / HTTP/1.1\r\nHost: known.test\r\n" + strings.Repeat("X: y\r\n", 101), "431 Request Header Fields Too Large"},
		{"GET / HTTP/1.1\r\nHost: known.test\r\nConnection: upgrade\r\nUpgrade: other\r\n", "403 Forbidden"},
		{"GET / HTTP/1.0\r\nHost: known.test\r\n", "200 OK"},
		{"GET http://known.test/x HTTP/1.1\r\nHost: stranger.test\r\n", "200 OK"},
	} {
		end := "\r\n"
		if !strings.HasPrefix(c.want, "403") {
			end = "Connection: close\r\n\r\n"
		}
		a := p.Say("known.test:80", c.bytes+end)
		line, _, _ := strings.Cut(a.Body, "\r\n")
		if line != "HTTP/1.1 "+c.want {
			t.Errorf("%.80q: %q %v, want %s", c.bytes, line, a.Err, c.want)
		}
	}
}
