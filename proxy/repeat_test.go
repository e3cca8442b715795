package proxy_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
)

// A request that makes its server close the connection is not sent on every idle
// connection there is: once more at the most, on a new one.
func TestARequestThatEndsItsConnectionIsSentTwiceAtTheMost(t *testing.T) {
	t.Parallel()
	const idle = 8
	var deadly atomic.Int64
	var together sync.WaitGroup // keeps the first requests apart, each on its own connection
	together.Add(idle)
	up := rawServer(t, func(c net.Conn, req *http.Request) {
		if req.URL.Path == "/deadly" {
			deadly.Add(1)
			c.Close()
			return
		}
		together.Done()
		together.Wait()
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up))
	var all sync.WaitGroup
	for range idle {
		all.Go(func() {
			if got := r.raw(get("warm")); !strings.HasPrefix(got, "HTTP/1.1 200") {
				t.Errorf("%q", got)
			}
		})
	}
	all.Wait()
	if got := r.raw(get("deadly")); !strings.HasPrefix(got, "HTTP/1.1 503") {
		t.Errorf("%q", got)
	}
	if n := deadly.Load(); n > 2 {
		t.Errorf("it reached the server %d times", n)
	}
}
