package proxy_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
)

// A request that makes its server close must not be sent on each connection that others
// have used, where there is a line for them.
func TestARequestThatItsServerClosesForIsSentAgainOnce(t *testing.T) {
	t.Parallel()
	for _, m := range plainModes {
		if m.service != "h1" {
			continue
		}
		for name, pool := range map[string]string{
			"":                   "",
			", with a full pool": rule("a.example.com", "connectionPool: {tcp: {maxConnections: 1}}"),
		} {
			t.Run(m.name+name, func(t *testing.T) {
				t.Parallel()
				var poison atomic.Int32
				s := newCounting()
				r := newRig(t, mesh.RegistryOnly, "")
				r.apply(mesh.RegistryOnly, m.serve(t, func(w http.ResponseWriter, req *http.Request) {
					if req.URL.Path == "/poison" {
						poison.Add(1)
						panic(http.ErrAbortHandler)
					}
					s.ServeHTTP(w, req)
				})+pool)
				stop := make(chan struct{})
				var others sync.WaitGroup
				defer func() { close(stop); others.Wait() }()
				for range 8 {
					others.Go(func() {
						c := m.client(r)
						for {
							select {
							case <-stop:
								return
							default:
								status(c, "http://a.example.com/")
							}
						}
					})
				}
				c := m.client(r)
				const asked = 50
				for range asked {
					if got := status(c, "http://a.example.com/poison"); got != 503 && got != -1 {
						t.Errorf("status %d", got)
					}
				}
				if n := poison.Load(); n > 2*asked {
					t.Errorf("%d requests became %d", asked, n)
				}
			})
		}
	}
}
