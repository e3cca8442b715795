package proxy_test

import (
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// Rules that do not exempt the proxy send its own connections back to it. Where
// only TCP is declared, or no policy applies, it waits for no byte before it connects,
// and so could connect to itself for ever. As in the kernel, what comes back was going
// to where the proxy had dialled.
func TestConnectionsThatComeBackToTheProxyEnd(t *testing.T) {
	t.Parallel()
	tls := `---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: tls}
spec: {host: a.test, trafficPolicy: {tls: {mode: SIMPLE}}}
`
	tunnel := strings.Replace(tls, "tls: {mode: SIMPLE}", "tunnel: {targetHost: b.test, targetPort: 443}", 1)
	for name, tc := range map[string]struct {
		more     string
		governed func(netip.AddrPort) bool
	}{
		"declared TCP":        {},
		"with TLS originated": {more: tls},
		"through a tunnel":    {more: tunnel},
		"ungoverned":          {governed: func(netip.AddrPort) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			accepted := new(acceptedCount)
			r := newRig(t, mesh.RegistryOnly, "", func(cfg *proxy.Config) { cfg.Observer, cfg.Governed = accepted, tc.governed })
			r.to(r.addr)
			_, port, _ := net.SplitHostPort(r.addr)
			number, _ := strconv.Atoi(port)
			r.apply(mesh.RegistryOnly, static("a", "a.test", "TCP", number, r.addr)+tc.more)
			comesBack(t, r, accepted)
		})
	}
}

// acceptedCount counts what a proxy accepts.
type acceptedCount struct{ atomic.Int64 }

func (n *acceptedCount) Observe(e proxy.Event) {
	if e.Kind == proxy.ConnectionAccepted {
		n.Add(1)
	}
}

func comesBack(t *testing.T, r *rig, accepted *acceptedCount) {
	t.Helper()
	if c, err := net.Dial("tcp", r.addr); err == nil { // else it was reset even sooner
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		if b, err := io.ReadAll(c); err == nil || len(b) > 0 {
			t.Errorf("%q, %v: want a reset", b, err)
		}
	}
	// The client's, and then either three that carry on what came back, of which the last
	// is refused, or three tries that are refused.
	if n := accepted.Load(); n > 4 {
		t.Errorf("the proxy connected to itself %d times", n)
	}
	if log := r.log.String(); !strings.Contains(log, "exempt the proxy") {
		t.Errorf("nothing says what to do:\n%s", log)
	}
}

// A pod can connect to the proxy's own port as often as it likes: that is told once.
func TestConnectionsToTheProxysOwnPortAreToldOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, "", func(cfg *proxy.Config) {
		cfg.OriginalDst = nil
		cfg.Workload = mesh.Workload{Namespace: "shop", Pod: "web-1"}
	})
	for range 50 {
		if c, err := net.Dial("tcp", r.addr); err == nil { // else it was reset by then
			io.Copy(io.Discard, c)
			c.Close()
		}
	}
	await.True(t, "it is told", func() bool { return strings.Contains(r.log.String(), "not redirected to it") })
	if text := r.log.String(); strings.Count(text, "connection refused") != 1 || !strings.Contains(text, "namespace=shop pod=web-1") {
		t.Errorf("the log has:\n%s", text)
	}
}
