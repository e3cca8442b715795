package proxy_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// A server that hangs while its pool is full would else keep all who ever asked for it.
func TestAnApplicationThatLeavesWhileItWaitsForAConnectionLeavesTheLine(t *testing.T) {
	t.Parallel()
	for _, m := range plainModes {
		for _, reset := range []bool{true, false} {
			if m.app != "h1" {
				continue
			}
			t.Run(m.name+map[bool]string{true: ", reset"}[reset], func(t *testing.T) {
				t.Parallel()
				s := newCounting()
				r := newRig(t, mesh.RegistryOnly, "")
				proxy.NoticeDepartures(r.server, 10*time.Millisecond, 50*time.Millisecond)
				r.apply(mesh.RegistryOnly, m.serve(t, s.ServeHTTP)+
					rule("a.example.com", "connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1, maxConcurrentStreams: 1}}"))
				held := s.holds(t, m.client(r), 1)
				for n := range 3 { // each needs the only place
					c := r.dial()
					io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
					if reset {
						c.SetLinger(0)
						await.True(t, "it is read", func() bool { return proxy.Waiting(r.server) == 1 })
					}
					c.Close()
					await.True(t, "it has left", func() bool { return strings.Count(r.access.String(), `"response_flags":"DC"`) > n })
				}
				close(s.release)
				if got := <-held; got != 200 || s.all.Load() != 1 {
					t.Errorf("status %d; %d requests at the server", got, s.all.Load())
				}
			})
		}
	}
}
