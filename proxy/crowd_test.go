package proxy_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// idleIn is how many connections to servers a proxy has, and how many of them are idle.
func idleIn(r *rig) (open, idle int) {
	for _, p := range r.server.Pools() {
		open, idle = open+p.Active+p.Idle, idle+p.Idle
	}
	return open, idle
}

// An application invents names below a wildcard, each with a connection of its own.
func TestIdleConnectionsAreBoundedAndTheLongestIdleGoFirst(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"HTTP", "GRPC"} {
		for _, app := range []string{"h1", "h2"} {
			t.Run(app+" to "+protocol, func(t *testing.T) {
				t.Parallel()
				const most = 8
				s := newCounting()
				r := newRig(t, mesh.RegistryOnly, anyName(t, protocol, "tcp: {}", s.ServeHTTP), limited(proxy.Limits{Idle: most}))
				c := mode{app: app}.client(r)
				for n := range 5 * most {
					if got := status(c, fmt.Sprintf("http://n%d.example.com/", n)); got != 200 {
						t.Fatalf("status %d", got)
					}
				}
				await.True(t, "the idle are few", func() bool { open, _ := idleIn(r); return open <= most && open > 0 })
				conns := s.conns.Load()
				if got := status(c, fmt.Sprintf("http://n%d.example.com/", 5*most-1)); got != 200 || s.conns.Load() != conns {
					t.Errorf("status %d; the last name's connection went before others", got)
				}
			})
		}
	}
}

// A server that is wanted has a descriptor that an idle connection gives up.
func TestIdleConnectionsGiveTheirDescriptorsUp(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "done") }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "*.example.com")}}
	s.StartTLS()
	t.Cleanup(s.Close)
	yaml := static("all", "*.example.com", "HTTP", 80, s.Listener.Addr().String()) + originate(`"*.example.com"`, ca.file, "")
	for name, setup := range map[string]childSetup{
		"before they run out":    {Files: 200},
		"when they have run out": {Files: 100, Limits: proxy.Limits{Connections: 1000}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup.YAML, setup.Destination = yaml, "203.0.113.1:80"
			child := newChild(t, setup)
			c := child.dial()
			in := bufio.NewReader(c)
			for n := range 400 {
				head, _ := exchange(t, c, in, "GET", fmt.Sprintf("GET / HTTP/1.1\r\nHost: n%d.example.com\r\n\r\n", n))
				if head.StatusCode != 200 {
					t.Fatalf("status %d of request %d\n%s", head.StatusCode, n, child.log)
				}
			}
		})
	}
}
