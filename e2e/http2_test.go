package e2e

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// h2Client is an application in the pod that speaks HTTP/2 with prior knowledge;
// each connection goes to that address, whatever the URL says.
func (p *pod) h2Client(address string) *http.Client {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.NS.Dial(ctx, "tcp", address) },
		Protocols:   new(http.Protocols),
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	p.T.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 20 * time.Second}
}

func (n *internet) serveH2C(t *testing.T, address string, h http.Handler) {
	l, err := n.NS.Listen("tcp", address)
	must(t, err)
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { s.Serve(l); close(done) }()
	t.Cleanup(func() { s.Close(); <-done })
}

const h2Ext = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: h2}
spec:
  hosts: [httpbin.org]
  ports: [{number: 8080, name: grpc, protocol: GRPC}, {number: 80, name: http, protocol: HTTP}]
`

func TestHTTP2IsGovernedStreamByStream(t *testing.T) {
	t.Parallel()
	for _, family := range []string{"IPv4", "IPv6"} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			p := newPod(t, mesh.RegistryOnly, nil)
			own := net.JoinHostPort(p.net.Lookup("httpbin.org", family), "8080")
			other := net.JoinHostPort(p.net.Lookup("elsewhere.net", family), "8080")
			reached := func(where string) http.HandlerFunc {
				return func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, where, " ", r.Host, " ", r.ProtoMajor) }
			}
			p.net.serveH2C(t, own, reached("own"))
			p.net.serveH2C(t, other, reached("elsewhere"))
			ask := func(c *http.Client, url string) (int, string) {
				t.Helper()
				resp, err := c.Get(url)
				must(t, err)
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				must(t, err)
				return resp.StatusCode, string(body)
			}
			c := p.h2Client(own)
			if code, body := ask(c, "http://httpbin.org:8080/"); code != 502 || body != "" {
				t.Errorf("before anything is registered: %d %q", code, body)
			}
			p.Write("h2.yaml", h2Ext)
			await.True(t, "h2 is in force", func() bool { code, _ := ask(c, "http://httpbin.org:8080/"); return code == 200 })
			if _, body := ask(c, "http://httpbin.org:8080/"); body != "own httpbin.org:8080 2" {
				t.Errorf("got %q", body)
			}
			// The same connection, another name: judged by itself.
			if code, body := ask(c, "http://elsewhere.net:8080/"); code != 502 || body != "" {
				t.Errorf("an unregistered :authority on that connection: %d %q", code, body)
			}
			// A lie about the name reaches the name's own server.
			if code, body := ask(p.h2Client(other), "http://httpbin.org:8080/"); code != 200 || !strings.HasPrefix(body, "own ") {
				t.Errorf("a registered name at a stranger's address: %d %q", code, body)
			}
			// HTTP/2 inside, HTTP/1.1 outside, where the port declares HTTP.
			if code, body := ask(p.h2Client(net.JoinHostPort(p.net.Lookup("httpbin.org", family), "80")), "http://httpbin.org/"); code != 200 || !strings.Contains(body, "host=httpbin.org sni=plain") {
				t.Errorf("a port of HTTP: %d %q", code, body)
			}
		})
	}
}
