package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// forwardProxy answers every request for a tunnel with a head and then echoes in capitals;
// "" connects to what was asked for. It tells what it was asked.
type forwardProxy struct {
	addr  string
	asked chan *http.Request
	came  atomic.Int32
}

func newForwardProxy(t *testing.T, answer string) *forwardProxy {
	t.Helper()
	p := &forwardProxy{asked: make(chan *http.Request, 100)}
	p.addr = tcpServer(t, func(c *net.TCPConn) { p.serve(c, answer) })
	return p
}

func (p *forwardProxy) serve(c net.Conn, answer string) {
	p.came.Add(1)
	in := bufio.NewReader(c)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	p.asked <- r
	io.WriteString(c, answer)
	all, _ := io.ReadAll(in)
	c.Write(bytes.ToUpper(all))
}

// through leads opaque connections to port 5000 and TLS to port 443 through a proxy.
func through(proxy, policy string) string {
	return static("p", "proxy.test", "HTTP", 3128, proxy) + `
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: target}
spec:
  hosts: [target.test]
  addresses: [203.0.113.1]
  ports: [{number: 5000, name: tcp, protocol: TCP}, {number: 443, name: tls, protocol: TLS}]
  resolution: STATIC
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: target}
spec:
  hosts: [target.test]
  tls: [{match: [{sniHosts: [target.test]}], route: [{destination: {host: proxy.test}}]}]
  tcp: [{route: [{destination: {host: proxy.test}}]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: p}
spec:
  host: proxy.test
  trafficPolicy: {` + policy + `}
`
}

const toTarget = "tunnel: {targetHost: target.test, targetPort: 5432}"

// say sends text to the opaque port and returns all that comes back. A refusal may come
// while connect is under way.
func (r *rig) say(text string) (string, error) {
	r.to("203.0.113.1:5000")
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	got, err := io.ReadAll(c)
	return string(got), err
}

// echoed sends text and wants it back in capitals, after what is said first.
func echoed(t *testing.T, r *rig, first string) {
	t.Helper()
	r.to("203.0.113.1:5000")
	c := r.dial()
	text := bytes.Repeat([]byte("abc"), 50_000)
	go func() { c.Write(text); c.CloseWrite() }()
	got, err := io.ReadAll(c)
	if want := first + string(bytes.ToUpper(text)); err != nil || string(got) != want {
		t.Errorf("%d bytes, want %d: %v; %.40q", len(got), len(want), err, got)
	}
}

func TestOpaqueBytesGoThroughATunnel(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ answer, first string }{
		"200":                      {"HTTP/1.1 200 OK\r\n\r\n", ""},
		"any 2xx":                  {"HTTP/1.1 204 No Content\r\n\r\n", ""},
		"HTTP/1.0":                 {"HTTP/1.0 200 Connection established\r\nProxy-Agent: x\r\n\r\n", ""},
		"interim answers":          {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", ""},
		"a server speaks first":    {"HTTP/1.1 200 OK\r\n\r\nhello", "hello"},
		"a length means nothing":   {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhello", "hello"},
		"nor do chunks":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello", "hello"},
		"a head in the first read": {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 6000) + "\r\n\r\nhello", "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newForwardProxy(t, tt.answer)
			r := newRig(t, mesh.RegistryOnly, through(p.addr, toTarget))
			echoed(t, r, tt.first)
			if q := <-p.asked; q.Method != "CONNECT" || q.RequestURI != "target.test:5432" || q.Host != "target.test:5432" || len(q.Header) > 0 {
				t.Errorf("the proxy was asked %s %s of %s with %v", q.Method, q.RequestURI, q.Host, q.Header)
			}
		})
	}
}

func TestATunnelThatIsRefusedIsAFailedConnection(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer string
		tries  int32
		log    string
	}{
		"forbidden":   {"HTTP/1.1 403 Forbidden\r\n\r\n", 1, "CONNECT target.test:5432 with 403 Forbidden"},
		"credentials": {"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n", 1, "admit this pod by its address"},
		"a switch":    {"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", 1, "with 101"},
		"redirected":  {"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", 1, "with 302"},
		"no HTTP":     {"SSH-2.0-x\r\n\r\n", 3, "not HTTP"},
		"two lengths": {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 3, "not HTTP"},
		"no end":      {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 90), 3, "headers_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newForwardProxy(t, tt.answer)
			r := newRig(t, mesh.RegistryOnly, through(p.addr, toTarget))
			if _, err := r.say("x"); !isReset(err) {
				t.Errorf("%v, want a reset", err)
			}
			await.True(t, "the flags are logged", func() bool { return strings.Contains(r.access.String(), `"response_flags":"UF,URX"`) })
			await.True(t, tt.log+" is logged", func() bool { return strings.Contains(r.access.String()+r.log.String(), tt.log) })
			if n := p.came.Load(); n != tt.tries {
				t.Errorf("%d tries, want %d", n, tt.tries)
			}
		})
	}
}

func TestAProxyThatDoesNotAnswerHasTheConnectTimeout(t *testing.T) {
	t.Parallel()
	p := newForwardProxy(t, "")
	r := newRig(t, mesh.RegistryOnly, through(p.addr, toTarget+", connectionPool: {tcp: {connectTimeout: 100ms}}"))
	start := time.Now()
	if _, err := r.say("x"); !isReset(err) || time.Since(start) > 20*time.Second {
		t.Errorf("%v after %v, want a reset", err, time.Since(start))
	}
}

func TestTLSToATunnelsProxyIsItsOwn(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	p := &forwardProxy{asked: make(chan *http.Request, 100)}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{a.issue(t, "proxy.test")}, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	inner := tlsServer(t, a, "target.test")
	addr := serveOn(t, l, func(c net.Conn) {
		in := bufio.NewReader(c)
		q, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		p.asked <- q
		on, err := net.Dial("tcp", inner)
		if err != nil {
			return
		}
		defer on.Close()
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(on, in)
		io.Copy(c, on)
	})
	r := newRig(t, mesh.RegistryOnly, through(addr, toTarget+fmt.Sprintf(", tls: {mode: SIMPLE, caCertificates: %q}", a.file)))
	r.to("203.0.113.1:443")
	c := tls.Client(r.dial(), &tls.Config{ServerName: "target.test", RootCAs: a.Pool()})
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: target.test\r\nConnection: close\r\n\r\n")
	if got, err := io.ReadAll(c); !strings.HasSuffix(string(got), "sni=target.test host=target.test") {
		t.Errorf("%q, %v", got, err)
	}
	if q := <-p.asked; q.RequestURI != "target.test:5432" {
		t.Errorf("asked for %s", q.RequestURI)
	}
}

// postProxy takes a tunnel as a POST and echoes its body in capitals.
func postProxy(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || r.RequestURI != "/" || r.Host != "target.test:5432" {
			w.WriteHeader(400)
			return
		}
		capitals(w, r)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

const posted = "tunnel: {protocol: POST, targetHost: target.test, targetPort: 5432}"

func TestATunnelMayBeAPOST(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, through(postProxy(t), posted))
	echoed(t, r, "")
	c := r.dial() // and byte by byte, both ways
	for range 3 {
		got := make([]byte, 1)
		io.WriteString(c, "a")
		if _, err := io.ReadFull(c, got); err != nil || got[0] != 'A' {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func TestAPOSTsAnswerEndsAsItsHeadSays(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\n"
	for name, tt := range map[string]struct {
		answer, want string
		cut          bool
	}{
		"a length":         {head + "Content-Length: 5\r\n\r\nhello world", "hello", false},
		"no body":          {head + "Content-Length: 0\r\n\r\nhello", "", false},
		"until the end":    {"HTTP/1.0 200 OK\r\n\r\nhello", "hello", false},
		"chunks":           {head + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello", false},
		"a length cut":     {head + "Content-Length: 9\r\n\r\nhello", "hello", true},
		"chunks cut":       {head + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n", "hello", true},
		"chunks malformed": {head + "Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n", "he", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := tcpServer(t, func(c *net.TCPConn) {
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					io.WriteString(c, tt.answer)
				}
				c.CloseWrite()
				io.Copy(io.Discard, c)
			})
			r := newRig(t, mesh.RegistryOnly, through(up, posted))
			got, err := r.say("x")
			if isReset(err) != tt.cut || !tt.cut && got != tt.want || !strings.HasPrefix(tt.want, got) {
				t.Errorf("%q, %v; want %q, cut: %t", got, err, tt.want, tt.cut)
			}
		})
	}
}
