package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// rule is a DestinationRule.
func rule(host, policy string) string {
	return fmt.Sprintf("\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: rule}\nspec: {host: %s, trafficPolicy: {%s}}\n", host, policy)
}

// counting is a server that holds requests for /hold until they are released, and
// counts requests and connections at a time.
type counting struct {
	now, most, all, conns atomic.Int32
	release               chan struct{}
	perConn               sync.Map // remote address ▸ *atomic.Int32
}

func newCounting() *counting { return &counting{release: make(chan struct{})} }

func (s *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	s.all.Add(1)
	count, again := s.perConn.LoadOrStore(r.RemoteAddr, new(atomic.Int32))
	if count.(*atomic.Int32).Add(1); !again {
		s.conns.Add(1)
	}
	if r.URL.Path == "/hold" {
		select {
		case <-s.release:
		case <-r.Context().Done():
		}
	}
	io.WriteString(w, "done")
}

// holds asks for /hold n times at once and waits until that many are at the server. Each
// status is sent as it comes.
func (s *counting) holds(t *testing.T, c *http.Client, n int) <-chan int {
	t.Helper()
	statuses := make(chan int, n)
	for range n {
		go func() { statuses <- status(c, "http://a.example.com/hold") }()
	}
	await.True(t, "requests are held", func() bool { return int(s.now.Load()) == n })
	return statuses
}

// status is an answer's, 0 where there is none, -1 for one that is not what it should be.
func status(c *http.Client, url string) int {
	resp, err := c.Get(url)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode == 503 && (resp.Header.Get("x-envoy-overloaded") != "true" || !strings.HasSuffix(string(body), "reset reason: overflow")) {
		return -1
	}
	return resp.StatusCode
}

func TestOneConnectionServesManyRequestsOneAfterAnother(t *testing.T) {
	t.Parallel()
	inPlainModes(t, "connectionPool: {tcp: {maxConnections: 1}}", func(t *testing.T, m mode, s *counting, r *rig, _ *http.Client) {
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				c := m.client(r)
				for range 3 {
					if got := status(c, "http://a.example.com/"); got != 200 {
						t.Errorf("status %d", got)
					}
				}
			})
		}
		all.Wait()
		if n := s.conns.Load(); n != 1 || m.service == "h1" && s.most.Load() != 1 {
			t.Errorf("%d connections, %d requests at once", n, s.most.Load())
		}
	})
}

// plainModes are those without TLS, where the rule of a test is the only one.
var plainModes = func() (out []mode) {
	for _, m := range modes {
		if !strings.HasSuffix(m.service, "tls") {
			out = append(out, m)
		}
	}
	return out
}()

func inPlainModes(t *testing.T, policy string, body func(t *testing.T, m mode, s *counting, r *rig, c *http.Client)) {
	for _, m := range plainModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := newCounting()
			r := newRig(t, mesh.RegistryOnly, "")
			r.apply(mesh.RegistryOnly, m.serve(t, s.ServeHTTP)+rule("a.example.com", policy))
			body(t, m, s, r, m.client(r))
		})
	}
}

func TestPendingRequestsBeyondTheirLimitOverflow(t *testing.T) {
	t.Parallel()
	inPlainModes(t, "connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 2, maxConcurrentStreams: 1}}",
		func(t *testing.T, m mode, s *counting, r *rig, c *http.Client) {
			held := s.holds(t, c, 1)
			waiting := make(chan int, 12)
			for range 12 {
				go func() { waiting <- status(c, "http://a.example.com/") }()
			}
			for range 10 { // the other two wait
				if got := <-waiting; got != 503 {
					t.Errorf("status %d beyond the limit", got)
				}
			}
			select {
			case got := <-waiting:
				t.Fatalf("status %d of a request that should wait", got)
			default:
			}
			close(s.release)
			for range 2 {
				if got := <-waiting; got != 200 {
					t.Errorf("status %d of a request that waited", got)
				}
			}
			if got := <-held; got != 200 || s.conns.Load() != 1 {
				t.Errorf("status %d, %d connections", got, s.conns.Load())
			}
			await.Silence(t, func() string { return r.notLogged(`"response_flags":"UO"`) })
		})
}

func TestRequestsBeyondTheirLimitOverflow(t *testing.T) {
	t.Parallel()
	inPlainModes(t, "connectionPool: {http: {http2MaxRequests: 3}}", func(t *testing.T, m mode, s *counting, r *rig, c *http.Client) {
		held := s.holds(t, c, 3)
		for range 4 {
			if got := status(c, "http://a.example.com/"); got != 503 {
				t.Errorf("status %d beyond the limit", got)
			}
		}
		close(s.release)
		for range 3 {
			if got := <-held; got != 200 {
				t.Errorf("status %d", got)
			}
		}
		await.True(t, "there is room again", func() bool { return status(c, "http://a.example.com/") == 200 })
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() { status(c, "http://a.example.com/") })
		}
		all.Wait()
		if n := s.most.Load(); n > 3 {
			t.Errorf("%d requests at once", n)
		}
	})
}

func TestAConnectionCarriesOnlySoManyRequests(t *testing.T) {
	t.Parallel()
	for _, most := range []int32{1, 5} {
		inPlainModes(t, fmt.Sprintf("connectionPool: {http: {maxRequestsPerConnection: %d}}", most),
			func(t *testing.T, m mode, s *counting, r *rig, c *http.Client) {
				for range 20 {
					if got := status(c, "http://a.example.com/"); got != 200 {
						t.Errorf("status %d", got)
					}
				}
				s.perConn.Range(func(_, n any) bool {
					if n := n.(*atomic.Int32).Load(); n > most {
						t.Errorf("a connection carried %d requests, which may carry %d", n, most)
					}
					return true
				})
				if n := s.conns.Load(); most > 1 && n == 20 {
					t.Errorf("%d connections: none is used again", n)
				}
			})
	}
}

func TestAnHTTP2ConnectionCarriesOnlySoManyStreams(t *testing.T) {
	t.Parallel()
	inPlainModes(t, "connectionPool: {http: {maxConcurrentStreams: 2}}", func(t *testing.T, m mode, s *counting, r *rig, c *http.Client) {
		held := s.holds(t, c, 6)
		if want := map[string]int32{"h1": 6, "h2c": 3}[m.service]; s.conns.Load() != want {
			t.Errorf("%d connections, want %d", s.conns.Load(), want)
		}
		close(s.release)
		for range 6 {
			if got := <-held; got != 200 {
				t.Errorf("status %d", got)
			}
		}
	})
}

func TestARequestThatWaitsInVainLeavesTheLine(t *testing.T) {
	t.Parallel()
	inPlainModes(t, "connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1, maxConcurrentStreams: 1}}",
		func(t *testing.T, m mode, s *counting, r *rig, c *http.Client) {
			held := s.holds(t, c, 1)
			for n := range 3 { // each has the only place, and leaves it
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				req, _ := http.NewRequestWithContext(ctx, "GET", "http://a.example.com/", nil)
				resp, err := c.Do(req)
				if err == nil {
					resp.Body.Close()
				}
				cancel()
				if m.app == "h2" { // HTTP/1.1's end may be a half-close
					if err == nil {
						t.Errorf("status %d of a request that should wait", resp.StatusCode)
					}
					await.True(t, "it has left", func() bool { return strings.Count(r.access.String(), `"response_flags":"DC"`) > n })
				}
			}
			close(s.release)
			if got := <-held; got != 200 {
				t.Errorf("status %d", got)
			}
			await.True(t, "the connection is free", func() bool { return status(c, "http://a.example.com/") == 200 })
		})
}

// What was idle when a limit came must not be in the way of what it lets pass.
func TestALimitThatComesLaterHoldsAndStarvesNobody(t *testing.T) {
	t.Parallel()
	for _, m := range plainModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := newCounting()
			r := newRig(t, mesh.RegistryOnly, "")
			entry := m.serve(t, s.ServeHTTP)
			r.apply(mesh.RegistryOnly, entry)
			c := m.client(r)
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for range 4 {
						if got := status(c, "http://a.example.com/"); got != 200 {
							t.Errorf("status %d", got)
						}
					}
				})
			}
			all.Wait()
			r.apply(mesh.RegistryOnly, entry+rule("a.example.com", "connectionPool: {tcp: {maxConnections: 1}, http: {maxConcurrentStreams: 1}}"))
			s.most.Store(0)
			for range 8 {
				all.Go(func() {
					for range 4 {
						if got := status(c, "http://a.example.com/"); got != 200 {
							t.Errorf("status %d under the limit", got)
						}
					}
				})
			}
			all.Wait()
			r.apply(mesh.RegistryOnly, entry)
			held := s.holds(t, c, 3) // at once: the limit is gone
			close(s.release)
			for range 3 {
				<-held
			}
		})
	}
}

func TestOpaqueConnectionsBeyondTheirLimitAreReset(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "TCP", 5000, opaque(t))+rule("a.test", "connectionPool: {tcp: {maxConnections: 2}}"))
	r.to("203.0.113.1:5000")
	hello := func(c net.Conn) string {
		var b [5]byte
		n, _ := io.ReadFull(c, b[:])
		return string(b[:n])
	}
	one, two := r.dial(), r.dial()
	if a, b := hello(one), hello(two); a != "hello" || b != "hello" {
		t.Fatalf("%q %q", a, b)
	}
	for range 3 {
		if c, err := net.Dial("tcp", r.addr); err == nil {
			if said := hello(c); said != "" {
				t.Errorf("beyond the limit: %q", said)
			}
			c.Close()
		}
	}
	await.Silence(t, func() string { return r.notLogged(`"response_flags":"UO"`) })
	one.Close()
	await.True(t, "there is room again", func() bool {
		c, err := net.Dial("tcp", r.addr)
		if err != nil { // refused before it stood
			return false
		}
		defer c.Close()
		return hello(c) == "hello"
	})
}
