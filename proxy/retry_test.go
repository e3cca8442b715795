package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// oneDown registers a.test with two servers, of which the first, with most of the
// weight, is down.
func oneDown(protocol string, port int, down, up string) string {
	_, downPort, _ := net.SplitHostPort(down)
	_, upPort, _ := net.SplitHostPort(up)
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test]
  ports: [{number: %d, name: p, protocol: %s}]
  resolution: STATIC
  endpoints:
  - {address: 127.0.0.2, ports: {p: %s}, weight: 7}
  - {address: 127.0.0.1, ports: {p: %s}, weight: 1}
`, port, protocol, downPort, upPort)
}

func TestNoRequestFailsWhileOneOfTwoServersIsUp(t *testing.T) {
	t.Parallel()
	up := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "up") })
	r := newRig(t, mesh.RegistryOnly, oneDown("HTTP", 80, proxy.ClosedPort(t).String(), up))
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			resp, err := r.client().Get("http://a.test/")
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || err != nil {
				t.Errorf("%d %s %v", resp.StatusCode, body, err)
			}
		})
	}
	all.Wait()
}

func TestNoTCPConnectionFailsWhileOneOfTwoServersIsUp(t *testing.T) {
	t.Parallel()
	up := tcpServer(t, func(c *net.TCPConn) { io.WriteString(c, "up") })
	r := newRig(t, mesh.RegistryOnly, oneDown("TCP", 5000, proxy.ClosedPort(t).String(), up))
	r.to("203.0.113.1:5000")
	for range 20 {
		if said, err := io.ReadAll(r.dial()); string(said) != "up" {
			t.Fatalf("%q %v", said, err)
		}
	}
}

func TestANamesOtherAddressesAreTriedWhenItsFirstIsDown(t *testing.T) {
	t.Parallel()
	up := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "up") })
	_, port, _ := net.SplitHostPort(up)
	for _, resolution := range []string{"DNS", "DNS_ROUND_ROBIN"} {
		r := newRig(t, mesh.RegistryOnly, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test]
  ports: [{number: 80, name: p, protocol: HTTP, targetPort: %s}]
  resolution: %s
`, port, resolution))
		r.names.Store("a.test", []string{"127.0.0.2", "127.0.0.1"}) // nobody listens at the first
		for range 4 {
			if resp, body := r.get("http://a.test/"); resp.StatusCode != 200 {
				t.Errorf("%s: %d %s", resolution, resp.StatusCode, body)
			}
		}
	}
}

func TestATCPConnectionThatFailsThreeTimesHasEnvoysFlags(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "db.test", "TCP", 5000, proxy.ClosedPort(t).String()))
	r.to("203.0.113.1:5000")
	if got := r.greeting(); got != "" {
		t.Errorf("got %q", got)
	}
	await.Silence(t, func() string { return r.notLogged(`"response_flags":"UF,URX"`) })
}
