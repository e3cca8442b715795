package proxy_test

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

func noAccess(cfg *proxy.Config) { cfg.AccessLog = nil }

// discardAccess keeps the access log's cost and drops its bytes.
func discardAccess(cfg *proxy.Config) { cfg.AccessLog = io.Discard }

// answerer is a server that reads to the end of each request head and writes one
// answer; it allocates nothing per request.
func answerer(b testing.TB, answer string) string {
	return tcpServer(b, func(c *net.TCPConn) {
		in, out, end := make([]byte, 4096), []byte(answer), []byte("\r\n\r\n")
		n := 0
		for {
			m, err := c.Read(in[n:])
			if err != nil {
				return
			}
			if n += m; bytes.HasSuffix(in[:n], end) {
				if _, err := c.Write(out); err != nil {
					return
				}
				n = 0
			}
		}
	})
}

// loop sends request and reads answers that all end alike.
func loop(b testing.TB, c net.Conn, request, end string, rounds int) {
	in, out, tail := make([]byte, 4096), []byte(request), []byte(end)
	for range rounds {
		if _, err := c.Write(out); err != nil {
			b.Error(err)
			return
		}
		for n := 0; ; {
			m, err := c.Read(in[n:])
			if err != nil {
				b.Error(err)
				return
			}
			if n += m; bytes.HasSuffix(in[:n], tail) {
				break
			}
		}
	}
}

const (
	smallRequest = "GET /path HTTP/1.1\r\nHost: a.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
	smallAnswer  = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 13\r\n\r\nhello, world\n"
)

func benchHTTP(b *testing.B, r *rig, request string) {
	c := r.dial()
	c.SetDeadline(time.Time{})
	loop(b, c, request, "world\n", 100) // warm
	b.ReportAllocs()
	b.ResetTimer()
	loop(b, c, request, "world\n", b.N)
}

// Client and server allocate nothing, so allocs/op are the proxy's.
func BenchmarkHTTPKeepAlive(b *testing.B) {
	entry := static("a", "a.test", "HTTP", 80, answerer(b, smallAnswer))
	b.Run("plain", func(b *testing.B) { benchHTTP(b, newRig(b, mesh.RegistryOnly, entry, noAccess), smallRequest) })
	b.Run("accesslog", func(b *testing.B) {
		benchHTTP(b, newRig(b, mesh.RegistryOnly, entry, discardAccess), smallRequest)
	})
	b.Run("metrics", func(b *testing.B) { benchHTTP(b, newCounted(b, entry, noAccess).rig, smallRequest) })
	b.Run("timeout", func(b *testing.B) {
		benchHTTP(b, newRig(b, mesh.RegistryOnly, entry+timeout("a.test", "10s"), discardAccess), smallRequest)
	})
	b.Run("body", func(b *testing.B) {
		request := strings.Replace(smallRequest, "GET", "POST", 1)
		request = strings.TrimSuffix(request, "\r\n") + "Content-Length: 4\r\n\r\n\r\n\r\n" // a body that ends like a head
		benchHTTP(b, newRig(b, mesh.RegistryOnly, entry, discardAccess), request)
	})
	b.Run("dns", func(b *testing.B) {
		up := netip.MustParseAddrPort(answerer(b, smallAnswer))
		yaml := strings.Replace(static("a", "a.test", "HTTP", 80, up.String()), "STATIC", "DNS", 1)
		r := newRig(b, mesh.RegistryOnly, strings.Replace(yaml, "address: 127.0.0.1", "address: up.test", 1), discardAccess)
		r.names.Store("up.test", []string{"127.0.0.1"})
		benchHTTP(b, r, smallRequest)
	})
}

func BenchmarkTCP(b *testing.B) {
	up := tcpServer(b, func(c *net.TCPConn) { io.Copy(c, c) })
	r := newRig(b, mesh.RegistryOnly, static("a", "a.test", "TCP", 5000, up), discardAccess)
	r.to("203.0.113.1:5000")
	c := r.dial()
	c.SetDeadline(time.Time{})
	block, back := make([]byte, 64<<10), make([]byte, 64<<10)
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for range b.N {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	}()
	for range b.N {
		if _, err := io.ReadFull(c, back); err != nil {
			b.Fatal(err)
		}
	}
}
