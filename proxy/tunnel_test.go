package proxy_test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// A tunnel into originated TLS ends when nothing moves, as the relay engine's do; one
// direction that moves is enough for both.
func TestATunnelIntoTLSEndsWhenNothingMoves(t *testing.T) {
	t.Parallel()
	const idle, beats = time.Second, 50
	a := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{a.issue(t, "a.test")}}
	up := tcpServer(t, func(tcp *net.TCPConn) {
		c := tls.Server(tcp, config)
		for range beats {
			if _, err := io.WriteString(c, "."); err != nil {
				return
			}
			time.Sleep(idle / 20) // the pace of what moves
		}
		io.Copy(io.Discard, c) // and then of what does not
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "TCP", 5000, up)+originate("a.test", a.file, ""))
	proxy.CutIdleTunnels(r.server, idle)
	r.to("203.0.113.1:5000")
	c := r.dial()
	got, err := io.ReadAll(c)
	if string(got) != strings.Repeat(".", beats) || !isReset(err) {
		t.Errorf("%d beats, then %v", len(got), err)
	}
	if log := r.finish(); len(log) != 1 || log[0]["response_code_details"] != "tcp_session_idle_timeout" {
		t.Errorf("logged %v", log)
	}
}
