package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// mirror answers with the request's body, and its hash where it is known.
func mirror(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(500)
		return
	}
	w.Header().Set("X-Sum", fmt.Sprintf("%x", sha256.Sum256(body)))
	if r.URL.Query().Has("length") {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	}
	for len(body) > 0 { // several writes: chunked unless a length is set
		n := min(len(body), 30_000)
		w.Write(body[:n])
		body = body[n:]
	}
}

// exchangeBodies sends bodies of many sizes and framings and checks that each
// comes back as it went.
func exchangeBodies(client *http.Client, host string, seed uint64, rounds int) error {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range rounds {
		body := make([]byte, []int{0, 1, 100, 4096, 5000, 70_000, 300_000}[rnd.IntN(7)])
		for i := range body {
			body[i] = byte(rnd.Uint32())
		}
		var reader io.Reader = bytes.NewReader(body)
		if rnd.IntN(2) == 0 {
			reader = struct{ io.Reader }{reader} // of unknown length: chunked
		}
		resp, err := client.Post("http://"+host+"/"+[]string{"", "?length"}[rnd.IntN(2)], "x/y", reader)
		if err != nil {
			return fmt.Errorf("%d bytes: %w", len(body), err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !bytes.Equal(got, body) || resp.Header.Get("X-Sum") != fmt.Sprintf("%x", sha256.Sum256(body)) {
			return fmt.Errorf("%d bytes came back as %d, status %d, %v", len(body), len(got), resp.StatusCode, err)
		}
	}
	return nil
}

func TestAHundredClientsGetTheirOwnBodiesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, serve(t, mirror)))
	seed := rand.Uint64()
	client := r.client()
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			if err := exchangeBodies(client, "a.test", seed+uint64(i), 8); err != nil {
				t.Errorf("seed %d, client %d: %v", seed, i, err)
			}
		})
	}
	all.Wait()
}

func TestLargeBodiesPassBothWaysThroughOriginatedTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(mirror))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{a.issue(t, "a.test")}}
	s.StartTLS()
	t.Cleanup(s.Close)
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, s.Listener.Addr().String())+originate("a.test", a.file, ""))
	seed := rand.Uint64()
	client := r.client()
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			if err := exchangeBodies(client, "a.test", seed+uint64(i), 10); err != nil {
				t.Errorf("seed %d, client %d: %v", seed, i, err)
			}
		})
	}
	all.Wait()
}

// tlsRawServer answers each connection's first request by handle, which gets TLS
// and the TCP connection beneath it.
func tlsRawServer(t *testing.T, a *authority, name string, handle func(*tls.Conn, *collected)) string {
	config := &tls.Config{Certificates: []tls.Certificate{a.issue(t, name)}}
	return tcpServer(t, func(tcp *net.TCPConn) {
		under := &collected{TCPConn: tcp}
		c := tls.Server(under, config)
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			handle(c, under)
		}
	})
}

// collected is a connection whose writes can be sent as one segment.
type collected struct {
	*net.TCPConn
	hold bool
	b    []byte
}

func (c *collected) Write(b []byte) (int, error) {
	if c.hold {
		c.b = append(c.b, b...)
		return len(b), nil
	}
	return c.TCPConn.Write(b)
}

// An answer that only the end of the connection ends is whole when TLS said
// goodbye; without, anybody on the way may have cut it (RFC 9112 §9.8).
func TestAnAnswerThatTLSDidNotEndIsNotWhole(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	for _, goodbye := range []bool{true, false} {
		up := tlsRawServer(t, a, "a.test", func(c *tls.Conn, tcp *collected) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello")
			if goodbye {
				c.Close()
			}
			tcp.Close()
		})
		r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up)+originate("a.test", a.file, ""))
		resp, err := r.client().Get("http://a.test/")
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); (err == nil) != goodbye || string(body) != "hello" {
			t.Errorf("goodbye %v: %q %v", goodbye, body, err)
		}
		c := r.dial()
		io.WriteString(c, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
		if _, err := io.ReadAll(c); isReset(err) == goodbye {
			t.Errorf("HTTP/1.0, goodbye %v: %v", goodbye, err)
		}
	}
}

func TestAnAnswerWithALengthNeedsNoGoodbye(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	up := tlsRawServer(t, a, "a.test", func(c *tls.Conn, tcp *collected) { io.WriteString(c, okAnswer); tcp.Close() })
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up)+originate("a.test", a.file, ""))
	client := r.client()
	for range 5 {
		resp, err := client.Get("http://a.test/")
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != "ok" || err != nil {
			t.Errorf("%q %v", body, err)
		}
	}
}

func TestTLSBytesAfterAnAnswerAreNobodysAnswer(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	up := tlsRawServer(t, a, "a.test", func(c *tls.Conn, tcp *collected) {
		tcp.hold = true
		io.WriteString(c, okAnswer)   // two records in one segment: the second lies
		io.WriteString(c, evilAnswer) // inside the proxy's TLS, not in its socket
		tcp.TCPConn.Write(tcp.b)
		tcp.hold = false
		io.Copy(io.Discard, c)
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up)+originate("a.test", a.file, ""))
	c := r.dial()
	in := bufio.NewReader(c)
	for i := range 3 {
		if _, body := ask(t, c, in, "GET", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); body != "ok" {
			t.Errorf("answer %d: %q", i, body)
		}
	}
}

func TestTheRouteTimeoutCutsAnAnswerThatStalls(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]string{
		"length":       "Content-Length: 10\r\n\r\nhello",
		"large length": "Content-Length: 1000000\r\n\r\nhello",
		"chunked":      "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"until close":  "\r\nhello",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := rawServer(t, func(c net.Conn, _ *http.Request) { io.WriteString(c, "HTTP/1.1 200 OK\r\n"+start) })
			r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up)+timeout("a.test", "1s"))
			resp, err := r.client().Get("http://a.test/")
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(resp.Body); err == nil || string(body) != "hello" {
				t.Errorf("%q %v", body, err)
			}
			if log := r.finish(); len(log) != 1 || log[0]["response_flags"] != "UT" {
				t.Errorf("logged %v", log)
			}
		})
	}
}

func TestDestinationsGetTheirShareByWeight(t *testing.T) {
	t.Parallel()
	say := func(text string) string {
		return serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
	}
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, say("a"))+static("b", "b.test", "HTTP", 80, say("b"))+`
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: split}
spec:
  hosts: [a.test]
  http:
  - route:
    - {destination: {host: a.test}, weight: 80}
    - {destination: {host: b.test}, weight: 20}
`)
	c := r.dial()
	in := bufio.NewReader(c)
	const rounds = 1000
	count := map[string]int{}
	for range rounds {
		_, body := ask(t, c, in, "GET", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		count[body]++
	}
	// 200 expected; the standard deviation is 13.
	if count["b"] < 120 || count["b"] > 280 || count["a"]+count["b"] != rounds {
		t.Errorf("%v", count)
	}
}

func TestANameThatDoesNotResolveAnswers503(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test]
  ports: [{number: 80, name: p, protocol: HTTP}]
  resolution: DNS
`)
	resp, body := r.get("http://a.test/")
	if resp.StatusCode != 503 || body != "no healthy upstream" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	if log := r.finish(); len(log) != 1 || log[0]["response_flags"] != "UH" {
		t.Errorf("logged %v", log)
	}
}

// Not parallel: nothing else may run while goroutines and descriptors are counted.
func TestGoroutinesAndDescriptorsReturnToWhereTheyWere(t *testing.T) {
	up := serve(t, mirror)
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up)+static("b", "b.test", "TCP", 5000, tcpServer(t, func(c *net.TCPConn) { io.Copy(c, c) })))
	warm := r.client()
	exchangeBodies(warm, "a.test", 1, 1)
	warm.CloseIdleConnections()
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)
	for round := range 3 {
		client := r.client()
		var all sync.WaitGroup
		for i := range 30 {
			all.Go(func() {
				if err := exchangeBodies(client, "a.test", uint64(round*100+i), 3); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() { // leaves in the middle of a body
				c := r.dial()
				io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 99\r\n\r\nx")
				c.Close()
			})
			all.Go(func() { // sends garbage
				c := r.dial()
				io.WriteString(c, "\x00\r\n\r\n"+strings.Repeat("x", i*100))
				io.Copy(io.Discard, c)
				c.Close()
			})
		}
		all.Wait()
		client.CloseIdleConnections()
		r.apply(mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up))
	}
	// Idle upstream connections are the proxy's to keep: the server's end of them
	// closes with it.
	r.stop()
	<-r.ended
	r.ended <- nil
	await.Silence(t, func() string {
		if g, d := runtime.NumGoroutine(), openDescriptors(t); g > goroutines || d > descriptors {
			return fmt.Sprintf("%d goroutines where %d were, %d descriptors where %d were", g, goroutines, d, descriptors)
		}
		return ""
	})
}

func openDescriptors(t *testing.T) int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
