package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// accepted waits until the proxy has so many connections.
func (r *rig) accepted(n int) {
	r.t.Helper()
	await.Silence(r.t, func() string {
		if _, open := r.server.Connections(0); open != n {
			return fmt.Sprintf("%d connections are open, want %d", open, n)
		}
		return ""
	})
}

// stopped ends the proxy and waits until it drains.
func (r *rig) stopped() {
	r.t.Helper()
	r.stop()
	await.True(r.t, "the proxy drains", func() bool {
		err := r.server.Ready()
		return err != nil && err.Error() == "stopping"
	})
}

// Whoever was accepted before a drain is served in it, whatever had come by then, and
// HTTP is told that the connection ends with its answer.
func TestADrainServesWhoWasAccepted(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	roots := &tls.Config{ServerName: "www.test", InsecureSkipVerify: true}
	up := script(t, nil)
	web := tlsServer(t, authority, "www.test")
	echo := tcpServer(t, func(c *net.TCPConn) { io.Copy(c, c) })
	greet := tcpServer(t, func(c *net.TCPConn) { io.WriteString(c, "hello"); io.Copy(io.Discard, c) })
	services := static("a", "a.test", "HTTP", 80, up) + static("b", "www.test", "TLS", 443, web) + static("c", "db.test", "TCP", 5000, echo)

	closes := func(t *testing.T, c net.Conn, in *bufio.Reader, text string) {
		t.Helper()
		if resp, body := exchange(t, c, in, "POST", text); resp.StatusCode != 200 || body != "body" || !resp.Close {
			t.Errorf("%d %q, close %v", resp.StatusCode, body, resp.Close)
		}
		if _, err := in.ReadByte(); err != io.EOF {
			t.Errorf("after the last answer: %v", err)
		}
	}
	post := "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody"
	chunked := "POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
	for _, tc := range []struct {
		name, dst string
		before    func(t *testing.T, r *rig, c *net.TCPConn) (then func(t *testing.T))
	}{
		{"HTTP/1, nothing", "203.0.113.1:80", func(_ *testing.T, _ *rig, c *net.TCPConn) func(*testing.T) {
			return func(t *testing.T) { closes(t, c, bufio.NewReader(c), post) }
		}},
		{"HTTP/1 for a goroutine, nothing", "203.0.113.1:80", func(_ *testing.T, _ *rig, c *net.TCPConn) func(*testing.T) {
			return func(t *testing.T) { closes(t, c, bufio.NewReader(c), chunked) }
		}},
		{"HTTP/1, half a head", "203.0.113.1:80", func(_ *testing.T, _ *rig, c *net.TCPConn) func(*testing.T) {
			io.WriteString(c, post[:20])
			return func(t *testing.T) { closes(t, c, bufio.NewReader(c), post[20:]) }
		}},
		{"HTTP/1, half a body", "203.0.113.1:80", func(_ *testing.T, _ *rig, c *net.TCPConn) func(*testing.T) {
			io.WriteString(c, post[:len(post)-2])
			return func(t *testing.T) { closes(t, c, bufio.NewReader(c), post[len(post)-2:]) }
		}},
		{"HTTP/2, nothing", "203.0.113.1:80", func(_ *testing.T, r *rig, c *net.TCPConn) func(*testing.T) {
			return func(t *testing.T) { goesAway(t, newFrames(t, c)) }
		}},
		{"HTTP/2, its preface", "203.0.113.1:80", func(t *testing.T, r *rig, c *net.TCPConn) func(*testing.T) {
			f := newFrames(t, c)
			f.await("SETTINGS", func(f xhttp2.Frame) bool { _, ok := f.(*xhttp2.SettingsFrame); return ok })
			return func(t *testing.T) { goesAway(t, f) }
		}},
		{"TLS, nothing", "203.0.113.1:443", func(_ *testing.T, _ *rig, c *net.TCPConn) func(*testing.T) {
			return func(t *testing.T) { fetchesOver(t, tls.Client(c, roots)) }
		}},
		{"TLS, half a hello", "203.0.113.1:443", func(_ *testing.T, _ *rig, c *net.TCPConn) func(*testing.T) {
			released, held := make(chan struct{}), make(chan struct{})
			client := tls.Client(&heldBack{Conn: c, after: 100, held: held, release: released}, roots)
			go client.Handshake()
			<-held
			return func(t *testing.T) { close(released); fetchesOver(t, client) }
		}},
		{"TCP", "203.0.113.1:5000", func(_ *testing.T, _ *rig, c *net.TCPConn) func(*testing.T) {
			return func(t *testing.T) { echoes(t, c) }
		}},
		{"TCP that nobody declares", echo, func(_ *testing.T, _ *rig, c *net.TCPConn) func(*testing.T) {
			return func(t *testing.T) { echoes(t, c) }
		}},
		{"a server that speaks first", greet, func(_ *testing.T, _ *rig, c *net.TCPConn) func(*testing.T) {
			return func(t *testing.T) {
				got := make([]byte, 5)
				if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
					t.Errorf("%q, %v", got, err)
				}
			}
		}},
	} {
		for _, handsOver := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, hands over %v", tc.name, handsOver), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, mesh.AllowAny, services, func(c *proxy.Config) {
					c.DrainTimeout, c.HandsOver = 20*time.Second, handsOver
				})
				r.names.Store("db.test", []string{"203.0.113.1"})
				r.to(tc.dst)
				c := r.dial()
				r.accepted(1)
				then := tc.before(t, r, c)
				r.stopped()
				then(t)
				c.Close()
				select {
				case err := <-r.ended:
					r.ended <- err
				case <-time.After(await.Patience):
					t.Error("the drain does not end with its last connection")
				}
			})
		}
	}
}

// goesAway has a request served and is told that no other is.
func goesAway(t *testing.T, c *frameClient) {
	t.Helper()
	c.headers(1, true, ":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "/")
	told := false
	c.await("the answer's end", func(f xhttp2.Frame) bool {
		switch f := f.(type) {
		case *xhttp2.GoAwayFrame:
			told = true
		case *xhttp2.MetaHeadersFrame:
			if status := f.PseudoValue("status"); status != "200" {
				t.Errorf("status %s", status)
			}
			return f.StreamEnded()
		case *xhttp2.DataFrame:
			return f.StreamEnded()
		}
		return false
	})
	if !told {
		t.Error("no GOAWAY has come with the answer")
	}
}

func fetchesOver(t *testing.T, c *tls.Conn) {
	t.Helper()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: www.test\r\nConnection: close\r\n\r\n")
	if got, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(got), "sni=www.test host=www.test") {
		t.Errorf("%q, %v", got, err)
	}
}

func echoes(t *testing.T, c *net.TCPConn) {
	t.Helper()
	io.WriteString(c, "there and back")
	c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "there and back" {
		t.Errorf("%q, %v", got, err)
	}
}

// heldBack writes so many bytes, says so, and waits before it writes the rest.
type heldBack struct {
	net.Conn
	after   int
	held    chan<- struct{}
	release <-chan struct{}
	once    sync.Once
}

func (h *heldBack) Write(b []byte) (int, error) {
	sent := 0
	var err error
	h.once.Do(func() {
		sent, err = h.Conn.Write(b[:h.after])
		close(h.held)
		<-h.release
	})
	if err != nil {
		return sent, err
	}
	n, err := h.Conn.Write(b[sent:])
	return sent + n, err
}

// Whoever is connected when a server stops is served, accepted or not: what still waits at
// the listener would be reset with it.
func TestAStopServesWhoWaitsToBeAccepted(t *testing.T) {
	t.Parallel()
	l, err := proxy.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	services := static("a", "a.test", "HTTP", 80, script(t, nil))
	var cfg proxy.Config
	beside := newRig(t, mesh.RegistryOnly, services, func(c *proxy.Config) {
		cfg = *c
		cfg.Listeners, cfg.DrainTimeout = []*net.TCPListener{l}, 20*time.Second
	})
	r := &rig{t: t, addr: l.Addr().String()}
	if r.server, err = proxy.New(cfg); err != nil {
		t.Fatal(err)
	}
	r.apply(mesh.RegistryOnly, services)
	var all []*net.TCPConn
	for range 100 {
		all = append(all, r.dial())
	}
	ctx, stop := context.WithCancel(t.Context())
	stop() // before anybody was accepted
	ended := make(chan error, 1)
	go func() { ended <- r.server.Serve(ctx) }()
	for i, c := range all {
		io.WriteString(c, get("x"))
		if err := okFrom(bufio.NewReader(c)); err != nil {
			t.Fatalf("connection %d of %d: %v", i, len(all), err)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	beside.stop()
}

// Connections that wait for their next request are closed one by one over the first half
// of a hand-over, and none of them before a request of its own has had its answer.
func TestIdleConnectionsEndOverTheFirstHalfOfAHandOver(t *testing.T) {
	t.Parallel()
	const n, limit = 40, 8 * time.Second
	for _, where := range []string{"in lanes", "with goroutines"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, script(t, nil)), func(c *proxy.Config) {
				c.DrainTimeout, c.HandsOver = limit, true
			})
			request := get("x")
			if where != "in lanes" { // a body in chunks is a goroutine's, who keeps the connection that comes back too often
				request = "POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
			}
			var idle []*net.TCPConn
			var ins []*bufio.Reader
			for range n {
				c := r.dial()
				in := bufio.NewReader(c)
				for range 3 {
					exchange(t, c, in, "GET", request)
				}
				idle, ins = append(idle, c), append(ins, in)
			}
			r.stopped()
			begun := time.Now()
			if resp, _ := exchange(t, idle[0], ins[0], "GET", request); !resp.Close {
				t.Error("an answer in a drain keeps its connection")
			}
			ends := make([]time.Duration, n)
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() {
					if _, err := ins[i].ReadByte(); err != io.EOF {
						t.Errorf("connection %d: %v", i, err)
					}
					ends[i] = time.Since(begun)
				})
			}
			all.Wait()
			slices.Sort(ends)
			if ends[n-1] > limit*3/4 {
				t.Errorf("the last was closed after %v of %v", ends[n-1], limit)
			}
			if spread := ends[n-1] - ends[2]; spread < limit/8 {
				t.Errorf("all were closed within %v", spread)
			}
		})
	}
}

// Who says nothing at all does not hold a drain up for long.
func TestASilentConnectionEndsWithinADrain(t *testing.T) {
	t.Parallel()
	const limit = 6 * time.Second
	for _, handsOver := range []bool{false, true} {
		t.Run(fmt.Sprintf("hands over %v", handsOver), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, script(t, nil)), func(c *proxy.Config) {
				c.DrainTimeout, c.HandsOver = limit, handsOver
			})
			c := r.dial()
			r.accepted(1)
			r.stopped()
			begun := time.Now()
			_, err := c.Read(make([]byte, 1))
			if took := time.Since(begun); err != io.EOF || took < limit/4 || took >= limit {
				t.Errorf("%v after %v, want its end after %v", err, took, limit/2)
			}
		})
	}
}

type observer func(proxy.Event)

func (o observer) Observe(e proxy.Event) { o(e) }

// A namespace that is gone needs no drain.
func TestCutEndsADrainAtOnce(t *testing.T) {
	t.Parallel()
	echo := tcpServer(t, func(c *net.TCPConn) { io.Copy(c, c) })
	for _, drains := range []bool{true, false} {
		var cut atomic.Int64
		r := newRig(t, mesh.RegistryOnly, static("a", "db.test", "TCP", 5000, echo), func(c *proxy.Config) {
			c.DrainTimeout = time.Hour
			c.Observer = observer(func(e proxy.Event) {
				if e.Kind == proxy.ConnectionsCut {
					cut.Add(e.Count)
				}
			})
		})
		r.to("203.0.113.1:5000")
		c := r.dial()
		got := make([]byte, 1)
		if c.Write(got); drains {
			io.ReadFull(c, got)
			r.stopped()
		}
		r.server.Cut()
		r.server.Cut()
		if _, err := io.ReadAll(c); err != nil && !isReset(err) {
			t.Errorf("drains %v: %v", drains, err)
		}
		select {
		case err := <-r.ended:
			r.ended <- err
			if err != nil {
				t.Error(err)
			}
		case <-time.After(await.Patience):
			t.Errorf("drains %v: it goes on", drains)
		}
		if n := cut.Load(); drains && n != 1 {
			t.Errorf("%d connections are said to be cut, want 1", n)
		}
	}
}
