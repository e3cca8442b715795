package proxy_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

func TestTLSIsRefusedForWhatItLacksOrHides(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	up := tlsServer(t, a, "www.test")
	entry := strings.Replace(static("a", "www.test", "TLS", 443, up), "  ports:", "  addresses: [203.0.113.1]\n  ports:", 1)
	ech := []byte{0, 0, 0}
	for name, c := range map[string]struct {
		policy  proxy.RefuseTLS
		config  *tls.Config
		refused string
	}{
		"nothing refused, no name": {proxy.RefuseTLS{}, &tls.Config{}, ""},
		"no name":                  {proxy.RefuseTLS{WithoutSNI: true}, &tls.Config{}, "no_sni"},
		"an address is no name":    {proxy.RefuseTLS{WithoutSNI: true}, &tls.Config{ServerName: "203.0.113.1"}, "no_sni"},
		"a name":                   {proxy.RefuseTLS{WithoutSNI: true, ECH: true}, &tls.Config{ServerName: "www.test"}, ""},
	} {
		r := newRig(t, mesh.RegistryOnly, entry, func(cfg *proxy.Config) { cfg.RefuseTLS = c.policy })
		r.to("203.0.113.1:443")
		c.config.InsecureSkipVerify = true
		err := tls.Client(r.dial(), c.config).Handshake()
		if (err != nil) != (c.refused != "") || err != nil && !isReset(err) {
			t.Errorf("%s: %v", name, err)
		}
		if log := r.finish(); c.refused != "" && (len(log) != 1 || log[0]["response_code_details"] != c.refused || log[0]["response_flags"] != "UH") {
			t.Errorf("%s: logged %v", name, log)
		}
	}
	for _, refuse := range []bool{false, true} {
		r := newRig(t, mesh.RegistryOnly, entry, func(cfg *proxy.Config) { cfg.RefuseTLS.ECH = refuse })
		r.to("203.0.113.1:443")
		conn := r.dial()
		conn.Write(encryptedHello(t, "www.test", ech))
		_, err := conn.Read(make([]byte, 1)) // the server's answer, or the proxy's reset
		if isReset(err) != refuse {
			t.Errorf("ECH, refused %v: %v", refuse, err)
		}
	}
}

// helloFor is a ClientHello of crypto/tls.
func helloFor(t *testing.T, name string) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go tls.Client(client, &tls.Config{ServerName: name}).Handshake()
	b := make([]byte, 16<<10)
	n, err := io.ReadAtLeast(server, b, 5)
	for err == nil && n < 5+int(b[3])<<8+int(b[4]) {
		var m int
		m, err = server.Read(b[n:])
		n += m
	}
	if err != nil {
		t.Fatal(err)
	}
	return b[:n:n]
}

// encryptedHello is helloFor with an encrypted_client_hello extension of the given
// content added.
func encryptedHello(t *testing.T, name string, ech []byte) []byte {
	t.Helper()
	b := helloFor(t, name)
	b = append(b, 0xfe, 0x0d, byte(len(ech)>>8), byte(len(ech)))
	b = append(b, ech...)
	grow := 4 + len(ech)
	add := func(at, size int) {
		v := 0
		for _, c := range b[at : at+size] {
			v = v<<8 | int(c)
		}
		v += grow
		for i := size - 1; i >= 0; i-- {
			b[at+i] = byte(v)
			v >>= 8
		}
	}
	add(3, 2) // record
	add(6, 3) // handshake
	at := 5 + 4 + 34
	at += 1 + int(b[at])                   // session id
	at += 2 + int(b[at])<<8 + int(b[at+1]) // suites
	at += 1 + int(b[at])                   // compression
	add(at, 2)
	return b
}

// Hostile and odd beginnings on a port where HTTP, TLS and TCP are declared, on
// one where each is alone, and on an undeclared one: each is served or refused in
// bounded time, and the next connection is served.
func TestOddBeginningsEndInBoundedTime(t *testing.T) {
	t.Parallel()
	web := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	yaml := static("h", "h.test", "HTTP", 80, web) + static("s", "s.test", "TLS", 443, web) + static("t", "t.test", "TCP", 5000, web)
	r := newRig(t, mesh.RegistryOnly, yaml)
	beginnings := map[string]string{
		"TLS with a bad record":      "\x16\x03\x01\x00\x00",
		"a TLS alert":                "\x15\x03\x01\x00\x02\x02\x28",
		"SSLv2":                      "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
		"a hello that is no hello":   "\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
		"a hello of 16 MB":           "\x16\x03\x01\x40\x00\x01\xff\xff\xff" + strings.Repeat("x", 1000),
		"zeros":                      strings.Repeat("\x00", 100),
		"a line":                     "EHLO mail.test\r\n",
		"HTTP/2":                     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"an unregistered host":       "GET / HTTP/1.1\r\nHost: no.test\r\n\r\n",
		"SSH":                        "SSH-2.0-x\r\n",
		"half a hello, then no more": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
	}
	for _, dst := range []string{"203.0.113.1:80", "203.0.113.1:443", "203.0.113.1:5000", "203.0.113.1:6000"} {
		r.to(dst)
		for name, text := range beginnings {
			c := r.dial()
			c.SetDeadline(time.Now().Add(await.Patience))
			io.WriteString(c, text)
			c.CloseWrite()
			if _, err := io.ReadAll(c); err != nil && !isReset(err) {
				t.Errorf("%s to %s: %v", name, dst, err)
			}
		}
	}
	r.to("203.0.113.1:80")
	if resp, body := r.get("http://h.test/"); resp.StatusCode != 200 || body != "ok" {
		t.Errorf("afterwards: %d %q", resp.StatusCode, body)
	}
}

// The server of a declared port is heard at once, that of an undeclared one after
// the sniff limit.
func TestAServerThatSpeaksFirstWaitsForNoClientWhereItIsDeclared(t *testing.T) {
	t.Parallel()
	up := tcpServer(t, func(c *net.TCPConn) { io.WriteString(c, "220 ready\r\n"); io.Copy(io.Discard, c) })
	r := newRig(t, mesh.AllowAny, static("a", "db.test", "TCP", 5000, up))
	r.names.Store("db.test", []string{"203.0.113.1"})
	fastest := func(dst string) time.Duration {
		r.to(dst)
		return await.Fastest(90*time.Millisecond, func() {
			if _, err := io.ReadFull(r.dial(), make([]byte, 11)); err != nil {
				t.Fatal(err)
			}
		})
	}
	if took := fastest("203.0.113.1:5000"); took > 90*time.Millisecond {
		t.Errorf("declared: %v", took)
	}
	if took := fastest(up); took < 90*time.Millisecond {
		t.Errorf("undeclared: %v, want the sniff limit of 100 ms", took)
	}
}
