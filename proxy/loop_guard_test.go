package proxy_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// Rules that do not exempt the proxy send its own connections back to it. Where
// only TCP is declared, or no policy applies, it waits for no byte before it connects,
// and so could connect to itself for ever. As in the kernel, what comes back was going
// to where the proxy had dialled.
func TestConnectionsThatComeBackToTheProxyEnd(t *testing.T) {
	t.Parallel()
	for name, governed := range map[string]func(netip.AddrPort) bool{
		"declared TCP": nil,
		"ungoverned":   func(netip.AddrPort) bool { return false },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			comesBack(t, func(cfg *proxy.Config) { cfg.Governed = governed })
		})
	}
}

func comesBack(t *testing.T, change func(*proxy.Config)) {
	var self atomic.Pointer[string]
	var dialled atomic.Int64
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "TCP", 5000, "203.0.113.1:5000"), func(cfg *proxy.Config) {
		cfg.Dial = func(ctx context.Context, _ netip.AddrPort) (*net.TCPConn, error) {
			dialled.Add(1)
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", *self.Load())
			if err != nil {
				return nil, err
			}
			return c.(*net.TCPConn), nil
		}
	}, change)
	self.Store(&r.addr)
	r.to("203.0.113.1:5000")
	if c, err := net.Dial("tcp", r.addr); err == nil { // else it was reset even sooner
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		if b, err := io.ReadAll(c); err == nil || len(b) > 0 {
			t.Errorf("%q, %v: want a reset", b, err)
		}
	}
	if n := dialled.Load(); n > 10 {
		t.Errorf("the proxy connected to itself %d times", n)
	}
	if log := r.log.String(); !strings.Contains(log, "exempt the proxy") {
		t.Errorf("nothing says what to do:\n%s", log)
	}
}
