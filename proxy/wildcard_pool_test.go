package proxy_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// anyName starts a server for every name below example.com, over TLS, and returns its
// resources with that of its pool.
func anyName(t *testing.T, protocol, pool string, handle http.HandlerFunc) string {
	ca := newAuthority(t)
	s := httptest.NewUnstartedServer(handle)
	s.EnableHTTP2 = protocol == "GRPC"
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "*.example.com")}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return static("all", "*.example.com", protocol, 80, s.Listener.Addr().String()) +
		originate(`"*.example.com"`, ca.file, "}, connectionPool: {"+pool)
}

// Names below a wildcard are the application's to invent.
func TestNamesThatAreRefusedOverALimitLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	for _, app := range []string{"h1", "h2"} {
		t.Run(app, func(t *testing.T) {
			t.Parallel()
			s := newCounting()
			r := newRig(t, mesh.RegistryOnly, anyName(t, "GRPC", "http: {http2MaxRequests: 1}", s.ServeHTTP))
			c := mode{app: app}.client(r)
			held := s.holds(t, c, 1)
			for n := range 50 {
				if got := status(c, fmt.Sprintf("http://n%d.example.com/", n)); got != 503 {
					t.Fatalf("status %d over the limit", got)
				}
			}
			if n := proxy.HTTP2Names(r.server); n != 1 {
				t.Errorf("%d names are remembered", n)
			}
			close(s.release)
			if got := <-held; got != 200 {
				t.Errorf("status %d", got)
			}
		})
	}
}
