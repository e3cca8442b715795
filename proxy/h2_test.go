package proxy_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// One connection carries requests to several names: each is judged by its own.
func TestEachStreamIsJudgedByItsOwnName(t *testing.T) {
	t.Parallel()
	a := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "a") })
	b := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "b") })
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, a)+static("b", "b.test", "HTTP", 80, b))
	for _, c := range []struct {
		name   string
		fields []string
		status int
		body   string
	}{
		{"a registered name", []string{":authority", "a.test", ":path", "/"}, 200, "a"},
		{"another", []string{":authority", "b.test", ":path", "/"}, 200, "b"},
		{"upper case, port and dot", []string{":authority", "A.TEST.:80", ":path", "/"}, 200, "a"},
		{"nobody's name", []string{":authority", "c.test", ":path", "/"}, 502, ""},
		{":authority wins over Host", []string{":authority", "c.test", ":path", "/", "host", "a.test"}, 502, ""},
		{"and the other way round", []string{":authority", "a.test", ":path", "/", "host", "c.test"}, 200, "a"},
		{"Host stands in for it", []string{":path", "/", "host", "b.test"}, 200, "b"},
		{"neither", []string{":path", "/"}, 400, ""},
		{"the asterisk", []string{":method", "OPTIONS", ":authority", "a.test", ":path", "*"}, 404, ""},
	} {
		status, headers, body := r.stream(t, c.fields...)
		if status != c.status || body != c.body || headers["server"] != "envoy" {
			t.Errorf("%s: %d %q %v", c.name, status, body, headers)
		}
	}
	await.True(t, "the access log has the refusal", func() bool {
		return strings.Contains(r.access.String(), `"authority":"c.test"`) && strings.Contains(r.access.String(), "block_all")
	})
}

func TestCONNECTIsNotFound(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, serve(t, echo)))
	c := r.frames(t)
	c.headers(1, false, ":method", "CONNECT", ":authority", "a.test:443")
	if status, _, _ := c.answer(1); status != 404 {
		t.Errorf("got %d", status)
	}
}

func TestUnregisteredNamesPassUnderAllowAny(t *testing.T) {
	t.Parallel()
	for _, service := range []string{"h2c"} { // the server is spoken to as the application speaks
		m := mode{app: "h2", service: service}
		r := newRig(t, mesh.AllowAny, "")
		yaml := m.serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host, " ", r.ProtoMajor) })
		_, address, _ := strings.Cut(yaml, "endpoints: [{address: ")
		host, port, _ := strings.Cut(address, ", ports: {p: ")
		port, _, _ = strings.Cut(port, "}")
		r.to(host + ":" + port)
		resp, body := fetch(t, r.h2Client(), getRequest(t, "http://other.test/"))
		if resp.StatusCode != 200 || body != "other.test 2" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
	}
}

func TestAServerThatDoesNotChooseH2IsNamed(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "a.example.com")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go http.Serve(l, http.HandlerFunc(echo))
	r := newRig(t, mesh.RegistryOnly, static("a", "a.example.com", "GRPC", 80, l.Addr().String())+originate("a.example.com", ca.file, ""))
	resp, body := fetch(t, r.h2Client(), getRequest(t, "http://a.example.com/"))
	if resp.StatusCode != 503 || !strings.Contains(body, "the server did not choose h2 in ALPN") {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

// One answer that nobody reads stops neither other streams of the connection nor
// other connections, and what is kept of it is bounded.
func TestASlowReaderHoldsUpItsOwnStreamOnly(t *testing.T) {
	t.Parallel()
	for _, service := range []string{"h1", "h2c"} {
		m := mode{app: "h2", service: service}
		r := newRig(t, mesh.RegistryOnly, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/large" {
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 32<<10)); err != nil {
						return
					}
				}
			}
			io.WriteString(w, "small")
		}))
		c := r.h2Client()
		var large []*http.Response
		for range 5 {
			resp, err := c.Do(getRequest(t, "http://a.example.com/large"))
			if err != nil {
				t.Fatal(err)
			}
			large = append(large, resp)
		}
		for range 50 {
			if _, body := fetch(t, c, getRequest(t, "http://a.example.com/")); body != "small" {
				t.Errorf("%q", body)
			}
		}
		for _, resp := range large {
			resp.Body.Close()
		}
	}
}

// Streams that a server has not processed go to another connection; those that it
// has are finished where they are.
func TestGOAWAYFailsNoRequest(t *testing.T) {
	t.Parallel()
	var served atomic.Int64
	goingAway := func(w http.ResponseWriter, r *http.Request) {
		if served.Add(1)%50 == 0 { // more than are under way: a request is refused eight times in a row by no chance
			w.Header().Set("Connection", "close") // net/http's way to ask for GOAWAY
		}
		io.Copy(w, r.Body)
	}
	for _, m := range []mode{{app: "h2", service: "h2c"}, {app: "h2", service: "h2tls"}, {app: "h1", service: "h2c"}} {
		r := newRig(t, mesh.RegistryOnly, "")
		r.apply(mesh.RegistryOnly, m.serve(t, goingAway))
		c := m.client(r)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				for i := range 25 {
					want := strings.Repeat("x", i)
					resp, err := c.Post("http://a.example.com/", "text/plain", strings.NewReader(want))
					if err != nil {
						t.Errorf("%+v: %v", m, err)
						return
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if resp.StatusCode != 200 || string(body) != want || err != nil {
						t.Errorf("%+v: %d %q %v", m, resp.StatusCode, body, err)
						return
					}
				}
			})
		}
		all.Wait()
	}
}

// A connection may be ending while a request is on its way to it. What may be sent
// twice is, once more; what may not is told to the application.
func TestAnHTTP2ConnectionThatEndsAsItIsUsedCostsNoGET(t *testing.T) {
	t.Parallel()
	type key struct{}
	var served sync.Map // connection ▸ its requests
	handler := func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(key{}).(net.Conn)
		if _, again := served.LoadOrStore(c, true); again {
			c.Close() // without a word
			return
		}
		io.WriteString(w, "served")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(handler), Protocols: new(http.Protocols),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, key{}, c) }}
	s.Protocols.SetUnencryptedHTTP2(true)
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	for _, app := range []string{"h1", "h2"} {
		r := newRig(t, mesh.RegistryOnly, static("a", "a.example.com", "HTTP2", 80, l.Addr().String()))
		c := mode{app: app}.client(r)
		for range 6 { // every second one meets a connection that ends
			if resp, body := fetch(t, c, getRequest(t, "http://a.example.com/")); resp.StatusCode != 200 || body != "served" {
				t.Errorf("%s: %d %q", app, resp.StatusCode, body)
			}
		}
		lost := 0
		for range 4 {
			resp, err := c.Post("http://a.example.com/", "text/plain", strings.NewReader("once"))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode == 503 {
				lost++
			}
		}
		if lost != 2 {
			t.Errorf("%s: %d of 4 POSTs were answered with 503, not every second one", app, lost)
		}
	}
}

func TestStoppingLetsStreamsFinishAndTakesNoMore(t *testing.T) {
	t.Parallel()
	release, begun := make(chan struct{}), make(chan struct{})
	m := mode{app: "h2", service: "h2c"}
	r := newRig(t, mesh.RegistryOnly, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-release
		io.WriteString(w, "finished")
	}))
	c := r.frames(t)
	c.headers(1, true, ":method", "GET", ":scheme", "http", ":authority", "a.example.com", ":path", "/")
	<-begun
	r.stop()
	c.await("GOAWAY", func(f http2.Frame) bool { _, ok := f.(*http2.GoAwayFrame); return ok })
	close(release)
	if status, _, body := c.answer(1); status != 200 || body != "finished" {
		t.Errorf("%d %q", status, body)
	}
	select {
	case err := <-r.ended:
		r.ended <- err
	case <-time.After(await.Patience):
		t.Error("the proxy waits for a connection without streams")
	}
}

func TestStreamsBeyondTheLimitAreRefusedNotFailed(t *testing.T) {
	t.Parallel()
	m := mode{app: "h2", service: "h2c"}
	r := newRig(t, mesh.RegistryOnly, m.serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	c := r.h2Client()
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() {
			resp, err := c.Get("http://a.example.com/")
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("%d", resp.StatusCode)
			}
		})
	}
	all.Wait()
}

// frameClient is an application that speaks HTTP/2 by the frame.
type frameClient struct {
	t   testing.TB
	fr  *http2.Framer
	buf *strings.Builder
	enc *hpack.Encoder
}

func (r *rig) frames(t testing.TB) *frameClient {
	return newFrames(t, r.dial())
}

// newFrames begins a connection of HTTP/2.
func newFrames(t testing.TB, nc net.Conn) *frameClient {
	io.WriteString(nc, http2.ClientPreface)
	c := &frameClient{t: t, fr: http2.NewFramer(nc, nc), buf: &strings.Builder{}}
	c.enc = hpack.NewEncoder(c.buf)
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.fr.WriteSettings()
	return c
}

func (c *frameClient) headers(id uint32, end bool, fields ...string) {
	c.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(c.buf.String()), EndHeaders: true, EndStream: end})
}

func (c *frameClient) await(what string, is func(http2.Frame) bool) http2.Frame {
	c.t.Helper()
	for {
		f, err := c.fr.ReadFrame()
		if err != nil {
			c.t.Fatalf("instead of %s: %v", what, err)
		}
		if is(f) {
			return f
		}
	}
}

// answer reads the answer of a stream to its end.
func (c *frameClient) answer(id uint32) (status int, headers map[string]string, body string) {
	c.t.Helper()
	headers = map[string]string{}
	c.await("the answer's end", func(f http2.Frame) bool {
		if f.Header().StreamID != id {
			return false
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if v := f.PseudoValue("status"); v != "" {
				fmt.Sscan(v, &status)
			}
			for _, h := range f.RegularFields() {
				headers[h.Name] = h.Value
			}
			return f.StreamEnded()
		case *http2.DataFrame:
			body += string(f.Data())
			return f.StreamEnded()
		}
		_, reset := f.(*http2.RSTStreamFrame)
		return reset
	})
	return status, headers, body
}

// stream sends one request on a connection of its own; :method and :scheme are
// filled in.
func (r *rig) stream(t testing.TB, fields ...string) (int, map[string]string, string) {
	t.Helper()
	all := []string{":scheme", "http"}
	if fields[0] != ":method" {
		all = append(all, ":method", "GET")
	}
	c := r.frames(t)
	c.headers(1, true, append(all, fields...)...)
	return c.answer(1)
}
