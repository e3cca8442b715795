package proxy_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
)

// tlsServer speaks HTTPS with a certificate for names and notes the SNI it saw.
func tlsServer(t *testing.T, a *authority, names ...string) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "sni=%s host=%s", r.TLS.ServerName, r.Host)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(t, names...)}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func originate(host, ca, more string) string {
	return fmt.Sprintf(`
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d}
spec:
  host: %s
  trafficPolicy: {tls: {mode: SIMPLE, caCertificates: %q%s}}
`, host, ca, more)
}

func TestTLSIsOriginatedWithTheHostAsServerName(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	up := tlsServer(t, a, "www.test")
	r := newRig(t, mesh.RegistryOnly, static("a", "www.test", "HTTP", 443, up)+originate("www.test", a.file, ""))
	r.to("203.0.113.1:443")
	for range 3 {
		if resp, body := r.get("http://www.test:443/"); resp.StatusCode != 200 || body != "sni=www.test host=www.test:443" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
	}
}

func TestACertificateForAnotherNameIsRefused(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t), newAuthority(t)
	for name, c := range map[string]struct{ ca, names, more, want string }{
		"wrong name":      {a.file, "other.test", "", "not for www.test"},
		"wrong authority": {stranger.file, "www.test", "", "unknown authority"},
		"wrong SAN":       {a.file, "www.test", ", subjectAltNames: [a.test, b.test]", "not for a.test or b.test"},
		"missing file":    {"/nowhere/ca.pem", "www.test", "", "/nowhere/ca.pem"},
	} {
		up := tlsServer(t, a, c.names)
		r := newRig(t, mesh.RegistryOnly, static("a", "www.test", "HTTP", 443, up)+originate("www.test", c.ca, c.more))
		r.to("203.0.113.1:443")
		resp, body := r.get("http://www.test:443/")
		if resp.StatusCode != 503 || !strings.Contains(body, "TLS_error:|") || !strings.Contains(body, c.want) || !strings.HasSuffix(body, ":TLS_error_end") {
			t.Errorf("%s: %d %q", name, resp.StatusCode, body)
		}
		if name != "missing file" && !strings.Contains(body, "CERTIFICATE_VERIFY_FAILED") {
			t.Errorf("%s: %q", name, body)
		}
	}
}

func TestSubjectAltNamesReplaceTheServerNameInTheCheck(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	up := tlsServer(t, a, "real.test")
	r := newRig(t, mesh.RegistryOnly, static("a", "www.test", "HTTP", 443, up)+originate("www.test", a.file, ", sni: asked.test, subjectAltNames: [real.test]"))
	r.to("203.0.113.1:443")
	if _, body := r.get("http://www.test:443/"); body != "sni=asked.test host=www.test:443" {
		t.Errorf("got %q", body)
	}
}

func TestTLSPassesByServerNameUnopened(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	up := tlsServer(t, a, "www.test")
	r := newRig(t, mesh.RegistryOnly, static("a", "www.test", "TLS", 443, up))
	r.to("203.0.113.1:443")
	c := tls.Client(r.dial(), &tls.Config{ServerName: "www.test", RootCAs: a.Pool()})
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: www.test\r\nConnection: close\r\n\r\n")
	got, err := io.ReadAll(c)
	if err != nil || !strings.HasSuffix(string(got), "sni=www.test host=www.test") {
		t.Errorf("%q %v", got, err)
	}
	for _, name := range []string{"other.test", ""} {
		c := tls.Client(r.dial(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err := c.Handshake(); !isReset(err) {
			t.Errorf("server name %q: %v, want a reset", name, err)
		}
	}
}

func TestAClientHelloOnAPortDeclaredHTTPIsRoutedByItsName(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	up := tlsServer(t, a, "www.test")
	r := newRig(t, mesh.RegistryOnly, static("a", "www.test", "HTTP", 443, up)+originate("www.test", a.file, ""))
	r.to("203.0.113.1:443")
	c := tls.Client(r.dial(), &tls.Config{ServerName: "www.test", RootCAs: a.Pool()})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
}

func TestASplitClientHelloIsPutTogether(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	up := tlsServer(t, a, "www.test")
	r := newRig(t, mesh.RegistryOnly, static("a", "www.test", "TLS", 443, up))
	r.to("203.0.113.1:443")
	slow := &dribble{Conn: r.dial()}
	c := tls.Client(slow, &tls.Config{ServerName: "www.test", InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
}

// dribble writes in small segments.
type dribble struct{ net.Conn }

func (d *dribble) Write(b []byte) (int, error) {
	for i := 0; i < len(b); i += 100 {
		if _, err := d.Conn.Write(b[i:min(i+100, len(b))]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

func tcpServer(t testing.TB, handle func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, func(c net.Conn) { handle(c.(*net.TCPConn)) })
}

// serveOn handles each connection of a listener, which ends with the test, and
// returns its address.
func serveOn(t testing.TB, l net.Listener, handle func(net.Conn)) string {
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); handle(c) }()
		}
	}()
	return l.Addr().String()
}

func TestTCPPassesWithItsHalfClose(t *testing.T) {
	t.Parallel()
	up := tcpServer(t, func(c *net.TCPConn) {
		all, _ := io.ReadAll(c) // until the client's half-close
		c.Write(bytes.ToUpper(all))
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "db.test", "TCP", 5000, up))
	r.to("203.0.113.1:5000")
	c := r.dial()
	text := bytes.Repeat([]byte("abc"), 200_000)
	go func() { c.Write(text); c.CloseWrite() }()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, bytes.ToUpper(text)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestAServerThatSpeaksFirstIsHeard(t *testing.T) {
	t.Parallel()
	hello := func(c *net.TCPConn) { io.WriteString(c, "hello"); io.Copy(io.Discard, c) }
	r := newRig(t, mesh.AllowAny, static("a", "db.test", "TCP", 5000, tcpServer(t, hello)))
	r.names.Store("db.test", []string{"203.0.113.1"})
	undeclared := tcpServer(t, hello)
	for _, dst := range []string{"203.0.113.1:5000", undeclared} {
		r.to(dst)
		got := make([]byte, 5)
		if _, err := io.ReadFull(r.dial(), got); err != nil || string(got) != "hello" {
			t.Errorf("%s: %q %v", dst, got, err)
		}
	}
}

func TestUnregisteredTCPIsReset(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, "")
	r.to("203.0.113.1:5000")
	c, err := net.Dial("tcp", r.addr)
	if err == nil { // on a busy machine the refusal can come while connect is under way
		defer c.Close()
		io.WriteString(c, "\x01\x02\x03\x04")
		_, err = c.Read(make([]byte, 1))
	}
	if !isReset(err) {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestAResetIsCarriedThrough(t *testing.T) {
	t.Parallel()
	up := tcpServer(t, func(c *net.TCPConn) {
		c.Read(make([]byte, 1))
		c.SetLinger(0)
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "db.test", "TCP", 5000, up))
	r.to("203.0.113.1:5000")
	c := r.dial()
	io.WriteString(c, "x")
	if _, err := c.Read(make([]byte, 1)); !isReset(err) {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestABorrowedNameGoesToItsOwnAddress(t *testing.T) {
	t.Parallel()
	own := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "the name's own server") })
	stranger := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "a stranger") })
	_, port, _ := net.SplitHostPort(own)
	_, strangersPort, _ := net.SplitHostPort(stranger)
	r := newRig(t, mesh.RegistryOnly, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [api.test]
  ports:
  - {number: %s, name: a, protocol: HTTP}
  - {number: %s, name: b, protocol: HTTP}
`, port, strangersPort))
	r.names.Store("api.test", []string{"127.0.0.1"})
	r.to("127.0.0.1:" + port)
	if _, body := r.get("http://api.test/"); body != "the name's own server" {
		t.Errorf("an honest request: %q", body)
	}
	r.to("127.0.0.2:" + port) // loopback answers on all of 127/8: the stranger
	if _, body := r.get("http://api.test/"); body != "the name's own server" {
		t.Errorf("a lying request: %q", body)
	}
	r.names.Store("gone.test", []string{})
	if resp, _ := r.get("http://gone.test/"); resp.StatusCode != 502 {
		t.Errorf("an unregistered name: %d", resp.StatusCode)
	}
}

func TestAConnectionOfTheProxysOwnIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.AllowAny, "")
	r.to(r.addr) // as if no rule exempted the proxy: whatever it dials comes back to it
	c := r.dial()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: loop.test\r\nConnection: close\r\n\r\n")
	got, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(got), "HTTP/1.1 503 ") {
		t.Errorf("got %q", got)
	}
	if !strings.Contains(r.log.String(), "exempt the proxy") {
		t.Errorf("the log does not say what to do: %s", r.log)
	}
}
