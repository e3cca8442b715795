package proxy_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// A server that allows no stream is not connected to again and again.
func TestAServerThatAllowsNoStreamIsGivenUp(t *testing.T) {
	t.Parallel()
	for _, app := range []string{"h1", "h2"} {
		t.Run(app, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			var conns atomic.Int32
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					conns.Add(1)
					go func() {
						defer c.Close()
						fr := http2.NewFramer(c, c)
						fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
						pre := make([]byte, 24)
						if _, err := c.Read(pre); err != nil {
							return
						}
						for {
							f, err := fr.ReadFrame()
							if err != nil {
								return
							}
							switch f := f.(type) {
							case *http2.SettingsFrame:
								if !f.IsAck() {
									fr.WriteSettingsAck()
								}
							case *http2.HeadersFrame:
								fr.WriteRSTStream(f.StreamID, http2.ErrCodeRefusedStream)
							}
						}
					}()
				}
			}()
			r := newRig(t, mesh.RegistryOnly, static("a", "a.example.com", "HTTP2", 80, l.Addr().String()))
			c := mode{app: app}.client(r)
			c.Timeout = 5 * time.Second
			const asked = 5
			for range asked {
				resp, err := c.Get("http://a.example.com/")
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != 503 {
					t.Errorf("status %d", resp.StatusCode)
				}
			}
			// Until the server has said so each connection may be tried.
			if n := conns.Load(); n > asked*(proxy.MaxFresh+3)*2 {
				t.Errorf("%d connections for %d requests", n, asked)
			}
			await.True(t, "none is kept but the last", func() bool { open, _ := idleIn(r); return open <= 1 })
		})
	}
}
