package proxy_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// watched is a server whose connections are counted.
type watched struct {
	counting
	mu    sync.Mutex
	opens int
	ends  int
}

func (s *watched) state(_ net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.opens++
	case http.StateClosed, http.StateHijacked:
		s.ends++
	}
}

func (s *watched) count() (opens, ends int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opens, s.ends
}

// inWatchedModes is inPlainModes with a server whose connections are watched.
func inWatchedModes(t *testing.T, policy string, body func(t *testing.T, s *watched, r *rig, c *http.Client)) {
	for _, m := range plainModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := &watched{counting: counting{release: make(chan struct{})}}
			entry := m.serve(t, s.ServeHTTP, func(server *http.Server) { server.ConnState = s.state })
			r := newRig(t, mesh.RegistryOnly, entry+rule("a.example.com", policy))
			body(t, s, r, m.client(r))
		})
	}
}

func TestAConnectionIsKeptAsLongAsTheRuleSays(t *testing.T) {
	t.Parallel()
	const idle = 150 * time.Millisecond
	for _, policy := range []string{
		"connectionPool: {http: {idleTimeout: 150ms}}",
		"connectionPool: {tcp: {idleTimeout: 150ms}}", // HTTP's too, where that has none
		"connectionPool: {tcp: {idleTimeout: 1h}, http: {idleTimeout: 150ms}}",
	} {
		inWatchedModes(t, policy, func(t *testing.T, s *watched, r *rig, c *http.Client) {
			for range 3 { // it leaves its lane, and is put back
				if got := status(c, "http://a.example.com/"); got != 200 {
					t.Fatalf("status %d", got)
				}
			}
			await.True(t, "idle connections end", func() bool { opens, ends := s.count(); return opens == ends })
			if got := status(c, "http://a.example.com/"); got != 200 {
				t.Errorf("status %d on a new connection", got)
			}
			held := s.holds(t, c, 1) // one that carries something is not idle
			<-time.After(2 * idle)
			close(s.release)
			if got := <-held; got != 200 {
				t.Errorf("status %d of a request that took longer", got)
			}
		})
	}
}

func TestAConnectionLastsNoLongerThanTheRuleSays(t *testing.T) {
	t.Parallel()
	inWatchedModes(t, "connectionPool: {tcp: {maxConnectionDuration: 200ms}}", func(t *testing.T, s *watched, r *rig, c *http.Client) {
		held := s.holds(t, c, 1)
		await.True(t, "connections are replaced", func() bool {
			if got := status(c, "http://a.example.com/"); got != 200 {
				t.Fatalf("status %d", got)
			}
			opens, _ := s.count()
			return opens > 3
		})
		close(s.release)
		if got := <-held; got != 200 {
			t.Errorf("status %d of a request on a connection that became too old", got)
		}
		await.True(t, "the last ones end", func() bool { opens, ends := s.count(); return opens == ends })
	})
}

// opaque is a TCP server that says hello and then returns what it is sent.
func opaque(t *testing.T) string {
	return tcpServer(t, func(c *net.TCPConn) {
		io.WriteString(c, "hello")
		io.Copy(c, c)
	})
}

func TestAnOpaqueConnectionEndsWhenTheRuleSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ policy, log string }{
		{"connectionPool: {tcp: {idleTimeout: 1s}}", "tcp_session_idle_timeout"},
		{"connectionPool: {tcp: {maxConnectionDuration: 200ms}}", `"response_flags":"DT"`},
	} {
		t.Run(c.policy, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "TCP", 5000, opaque(t))+rule("a.test", c.policy))
			r.to("203.0.113.1:5000")
			busy := strings.Contains(c.policy, "idle")
			start := time.Now() // before the proxy's clock can run
			conn := r.dial()
			b := make([]byte, 16)
			for {
				if busy && time.Since(start) < 1500*time.Millisecond {
					io.WriteString(conn, "x")
				}
				if _, err := conn.Read(b); err != nil {
					break
				}
			}
			if took := time.Since(start); took < 200*time.Millisecond || busy && took < 2*time.Second {
				t.Errorf("it ended after %v", took)
			}
			await.Silence(t, func() string { return r.notLogged(c.log) })
		})
	}
}

// The port declares HTTP, and the server speaks HTTP/2 only, or each to his own.
func TestTheRuleSaysWhichVersionTheServerIsSpokenToIn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ declared, policy, h1, h2 string }{
		{"HTTP", "connectionPool: {http: {h2UpgradePolicy: DO_NOT_UPGRADE}}", "HTTP/1.1", "HTTP/1.1"},
		{"HTTP", "connectionPool: {http: {h2UpgradePolicy: DEFAULT}}", "HTTP/1.1", "HTTP/1.1"},
		{"HTTP", "connectionPool: {http: {h2UpgradePolicy: UPGRADE}}", "HTTP/2.0", "HTTP/2.0"},
		{"HTTP", "connectionPool: {http: {useClientProtocol: true}}", "HTTP/1.1", "HTTP/2.0"},
		{"HTTP2", "connectionPool: {http: {useClientProtocol: true}}", "HTTP/1.1", "HTTP/2.0"},
		{"HTTP2", "connectionPool: {http: {h2UpgradePolicy: DO_NOT_UPGRADE}}", "HTTP/2.0", "HTTP/2.0"},
	} {
		t.Run(c.declared+" "+c.policy, func(t *testing.T) {
			t.Parallel()
			declared := mode{service: map[string]string{"HTTP": "h1", "HTTP2": "h2c"}[c.declared]}
			version := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }
			entry := declared.serve(t, version, func(server *http.Server) {
				server.Protocols.SetHTTP1(true)
				server.Protocols.SetUnencryptedHTTP2(true)
			})
			r := newRig(t, mesh.RegistryOnly, entry+rule("a.example.com", c.policy))
			for app, want := range map[string]string{"h1": c.h1, "h2": c.h2} {
				client := mode{app: app}.client(r)
				for range 2 {
					if _, got := fetch(t, client, getRequest(t, "http://a.example.com/")); got != want {
						t.Errorf("%s: the server saw %q, want %q", app, got, want)
					}
				}
			}
		})
	}
}
