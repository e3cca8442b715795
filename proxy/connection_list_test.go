package proxy_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// listed are the connections there are, without what differs from run to run.
func listed(s *proxy.Server) string {
	all, open := s.Connections(100)
	lines := []string{fmt.Sprintf("%d open", open)}
	for _, c := range all {
		lines = append(lines, strings.TrimSpace(fmt.Sprintln(c.Destination, c.Protocol, c.Cluster, c.ServerName, c.Upstream.IsValid(), c.Since.IsZero())))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestConnectionsAreListedWithWhatTheyCarry(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	secure := tlsServer(t, a, "tls.test")
	silent := tcpServer(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	plain := rawServer(t, func(c net.Conn, _ *http.Request) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") })
	r := newRig(t, mesh.RegistryOnly, static("h", "http.test", "HTTP", 80, plain)+static("s", "tls.test", "TLS", 443, secure)+static("d", "db.test", "TCP", 5432, silent))

	r.to("203.0.113.1:80")
	r.dial() // and says nothing
	await.True(t, "the silent one", func() bool { return listed(r.server) == "1 open\n203.0.113.1:80 waiting   false true" })

	client := r.client()
	resp, err := client.Get("http://http.test/")
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()

	r.to("203.0.113.2:443")
	tc := tls.Client(r.dial(), &tls.Config{ServerName: "tls.test", InsecureSkipVerify: true})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	r.to("203.0.113.3:5432")
	r.dial()
	want := strings.Join([]string{
		"203.0.113.1:80 http/1.1 outbound|80||http.test  false true",
		"203.0.113.1:80 waiting   false true",
		"203.0.113.2:443 tls outbound|443||tls.test tls.test true false",
		"203.0.113.3:5432 tcp outbound|5432||db.test  true false",
		"4 open",
	}, "\n")
	await.True(t, "all four", func() bool { return listed(r.server) == want })
	if some, open := r.server.Connections(2); len(some) > 2 || open != 4 {
		t.Errorf("%d of %d, two at most were wanted", len(some), open)
	}
}

func TestAConnectionThatNoPolicyAppliesToIsListed(t *testing.T) {
	t.Parallel()
	silent := tcpServer(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	r := newRig(t, mesh.RegistryOnly, "", func(c *proxy.Config) { c.Governed = func(netip.AddrPort) bool { return false } })
	r.to(silent)
	r.dial()
	await.True(t, "it", func() bool { return listed(r.server) == "1 open\n"+silent+" tcp ungoverned  true false" })
}

func TestEndpointsAreListedWithoutALookup(t *testing.T) {
	t.Parallel()
	up := rawServer(t, func(c net.Conn, _ *http.Request) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") })
	port := netip.MustParseAddrPort(up).Port()
	r := newRig(t, mesh.RegistryOnly, fmt.Sprintf(`
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test, nobody.test]
  ports: [{number: 80, name: p, protocol: HTTP, targetPort: %d}]
  resolution: DNS
`, port)+static("s", "s.test", "HTTP", 80, up)+unresolved("n", "n.test", "TCP", 5432))
	r.names.Store("a.test", []string{"127.0.0.1"})
	text := func() string {
		var lines []string
		for _, c := range r.server.View().Clusters() {
			for _, e := range r.server.Endpoints(c) {
				lines = append(lines, fmt.Sprintln(c.Name, e.Name, e.Addr, e.Port == port, e.Known, e.Err != nil, e.Expires.IsZero()))
			}
		}
		slices.Sort(lines)
		return strings.Join(slices.Compact(lines), "")
	}
	before := `outbound|5432||n.test  invalid IP false true false true
outbound|80||a.test a.test invalid IP true false false true
outbound|80||nobody.test nobody.test invalid IP true false false true
outbound|80||s.test  127.0.0.1 true true false true
`
	if got := text(); got != before {
		t.Errorf("before anybody asked:\n%s", got)
	}
	if got := text(); got != before {
		t.Errorf("a listing has looked names up:\n%s", got)
	}
	r.get("http://a.test/")
	r.get("http://nobody.test/")
	after := strings.Replace(before, "a.test a.test invalid IP true false false true", "a.test a.test 127.0.0.1 true true false false", 1)
	after = strings.Replace(after, "nobody.test nobody.test invalid IP true false false true", "nobody.test nobody.test invalid IP true true true false", 1)
	if got := text(); got != after {
		t.Errorf("got:\n%swant:\n%s", got, after)
	}
}

func TestEndpointsAreListedWithWhatIsUnderWayThere(t *testing.T) {
	t.Parallel()
	asked, release, answered := make(chan struct{}), make(chan struct{}), make(chan struct{})
	up := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(503)
			return
		}
		close(asked)
		<-release
	})
	r := newRig(t, mesh.RegistryOnly, static("s", "s.test", "HTTP", 80, up)+`
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d}
spec: {host: s.test, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 1, baseEjectionTime: 1h, maxEjectionPercent: 100}}}
`)
	live := func() proxy.LiveEndpoint {
		for _, c := range r.server.View().Clusters() {
			if all := r.server.Endpoints(c); len(all) == 1 && all[0].Addr.String()+":"+fmt.Sprint(all[0].Port) == up {
				return all[0].Live
			}
		}
		return proxy.LiveEndpoint{Active: -1}
	}
	if got := live(); got != (proxy.LiveEndpoint{}) {
		t.Errorf("before anybody came: %+v", got)
	}
	client := r.client()
	go func() {
		defer close(answered)
		if resp, err := client.Get("http://s.test/slow"); err == nil {
			resp.Body.Close()
		}
	}()
	defer func() { close(release); <-answered }()
	<-asked
	if got := live(); got.Active != 1 || got.Connections != 1 || !got.EjectedUntil.IsZero() {
		t.Errorf("while one waits: %+v", got)
	}
	r.get("http://s.test/bad")
	await.True(t, "its ejection", func() bool { return !live().EjectedUntil.IsZero() })
}
