package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// shareable lets two sockets have one port, as the kernel does by itself for
// connections to different places.
func shareable(_, _ string, raw syscall.RawConn) (err error) {
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	return err
}

func TestAClientOnAPortThatTheProxyUsesTooIsServed(t *testing.T) {
	t.Parallel()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) })
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, server), func(c *proxy.Config) {
		c.Dial = func(ctx context.Context, dst netip.AddrPort) (*net.TCPConn, error) {
			d := net.Dialer{Control: shareable}
			return d.DialTCP(ctx, "tcp", netip.AddrPort{}, dst)
		}
	})
	_, own := r.get("http://a.test/") // this end of the proxy's connection, which stays open
	ask := func() (string, error) {
		d := net.Dialer{Control: shareable}
		c, err := d.DialTCP(t.Context(), "tcp", netip.MustParseAddrPort(own), netip.MustParseAddrPort(r.addr))
		if err != nil {
			t.Fatal(err)
		}
		defer cut(c)
		c.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
		said, err := io.ReadAll(c)
		return string(said), err
	}
	if said, err := ask(); !strings.HasPrefix(said, "HTTP/1.1 200 ") {
		t.Errorf("to another place: %q %v", said, err)
	}
	r.to(server)
	if said, err := ask(); said != "" || !isReset(err) {
		t.Errorf("the proxy's own, sent back: %q %v", said, err)
	}
	if log := r.log.String(); strings.Count(log, "reason=loop") != 1 {
		t.Error(log)
	}
}

// cut leaves no TIME_WAIT behind, which would keep the port from the next.
func cut(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}
