package proxy_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// mode is one pair of protocols: what the application speaks and what the server does.
type mode struct {
	name         string
	app, service string // h1, h2; h1, h1tls, h2c, h2tls
}

var modes = []mode{
	{"h1 to h1", "h1", "h1"}, {"h1 to h2c", "h1", "h2c"}, {"h1 to h2 over TLS", "h1", "h2tls"},
	{"h2 to h1", "h2", "h1"}, {"h2 to h2c", "h2", "h2c"}, {"h2 to h2 over TLS", "h2", "h2tls"},
}

// inModes runs one body in every pair of protocols.
func inModes(t *testing.T, handler http.HandlerFunc, rules string, body func(t *testing.T, m mode, r *rig, c *http.Client)) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, mesh.RegistryOnly, "")
			r.apply(mesh.RegistryOnly, m.serve(t, handler)+rules)
			body(t, m, r, m.client(r))
		})
	}
}

// serve starts a server for a.example.com, port 80, and returns its resources. What is
// changed of it comes after the mode's protocols.
func (m mode) serve(t testing.TB, handler http.HandlerFunc, change ...func(*http.Server)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0), Protocols: new(http.Protocols)}
	entry := static("a", "a.example.com", map[string]string{"h1": "HTTP", "h1tls": "HTTP", "h2c": "HTTP2", "h2tls": "GRPC"}[m.service], 80, l.Addr().String())
	switch m.service {
	case "h1":
		s.Protocols.SetHTTP1(true)
	case "h2c":
		s.Protocols.SetUnencryptedHTTP2(true)
	case "h1tls", "h2tls":
		alpn := "h2"
		if m.service == "h1tls" {
			alpn = "http/1.1"
		}
		s.Protocols.SetHTTP1(alpn != "h2")
		s.Protocols.SetHTTP2(alpn == "h2")
		ca := newAuthority(t)
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "a.example.com", "inner.example.com")}, NextProtos: []string{alpn}}
		l = tls.NewListener(l, s.TLSConfig)
		entry += originate("a.example.com", ca.file, "")
	}
	for _, f := range change {
		f(s)
	}
	done := make(chan struct{})
	go func() { s.Serve(l); close(done) }()
	t.Cleanup(func() { s.Close(); <-done })
	return entry
}

// client is the application: every connection goes to the proxy.
func (m mode) client(r *rig) *http.Client {
	if m.app == "h1" {
		return r.client()
	}
	return r.h2Client()
}

func (r *rig) h2Client() *http.Client {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", r.addr)
		},
		DisableCompression: true,
		Protocols:          new(http.Protocols),
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	r.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func fetch(t *testing.T, c *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func getRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestARequestArrivesAsItWasSentInEveryPairOfProtocols(t *testing.T) {
	t.Parallel()
	inModes(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Answer", "yes")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.Header().Set("Server", "theirs")
		fmt.Fprintf(w, "%s %s host=%s proto=%d x=%q cookie=%q te=%q ua=%q", r.Method, r.URL, r.Host, r.ProtoMajor,
			r.Header["X-Two"], r.Header["Cookie"], r.Header["Te"], r.Header["User-Agent"])
	}, "", func(t *testing.T, m mode, r *rig, c *http.Client) {
		req := getRequest(t, "http://a.example.com/p/../q?x=1")
		req.Header["X-Two"] = []string{"one", "two"}
		req.Header["Cookie"] = []string{"a=1; b=2"}
		req.Header["User-Agent"] = []string{"test"}
		resp, body := fetch(t, c, req)
		version := 2
		if m.service == "h1" {
			version = 1
		}
		want := fmt.Sprintf(`GET /q?x=1 host=a.example.com proto=%d x=["one" "two"] cookie=["a=1; b=2"] te=[] ua=["test"]`, version)
		if resp.StatusCode != 200 || body != want {
			t.Errorf("%d\n got %s\nwant %s", resp.StatusCode, body, want)
		}
		if got := resp.Header; got.Get("Server") != "envoy" || got.Get("X-Answer") != "yes" || len(got["Set-Cookie"]) != 2 || got.Get("Date") == "" || got.Get("X-Envoy-Upstream-Service-Time") == "" {
			t.Errorf("headers: %v", got)
		}
	})
}

func TestBodiesOfEverySizeGoBothWays(t *testing.T) {
	t.Parallel()
	inModes(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Whole") != "" {
			b, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			w.Write(b)
			return
		}
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	}, "", func(t *testing.T, m mode, r *rig, c *http.Client) {
		var all sync.WaitGroup
		for _, size := range []int{0, 1, 100, 16 << 10, 64 << 10, 1 << 20} {
			for _, kind := range []string{"length", "chunked", "whole"} {
				all.Go(func() {
					data := make([]byte, size)
					rand.Read(data)
					var from io.Reader = bytes.NewReader(data)
					if kind == "chunked" {
						from = struct{ io.Reader }{from}
					}
					req, _ := http.NewRequest("POST", "http://a.example.com/", from)
					if kind == "whole" {
						req.Header.Set("X-Whole", "1")
					}
					resp, err := c.Do(req)
					if err != nil {
						t.Errorf("%d %s: %v", size, kind, err)
						return
					}
					defer resp.Body.Close()
					got, err := io.ReadAll(resp.Body)
					if resp.StatusCode != 200 || err != nil || !bytes.Equal(got, data) {
						t.Errorf("%d %s: status %d, %d bytes back, error %v", size, kind, resp.StatusCode, len(got), err)
					}
				})
			}
		}
		all.Wait()
	})
}

func TestTrailersGoBothWays(t *testing.T) {
	t.Parallel()
	inModes(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "Grpc-Status, X-Echo")
		io.WriteString(w, "body")
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set("X-Echo", r.Trailer.Get("X-Sum"))
	}, "", func(t *testing.T, m mode, r *rig, c *http.Client) {
		for _, body := range []io.Reader{strings.NewReader("hello"), struct{ io.Reader }{strings.NewReader("hello")}} {
			req, _ := http.NewRequest("POST", "http://a.example.com/", body)
			req.ContentLength = -1
			req.Trailer = http.Header{"X-Sum": {"42"}}
			req.Header.Set("Te", "trailers")
			resp, _ := fetch(t, c, req)
			if resp.Trailer.Get("Grpc-Status") != "0" || resp.Trailer.Get("X-Echo") != "42" {
				t.Errorf("trailers: %v", resp.Trailer)
			}
		}
	})
}

func TestAnswersWithoutABodyHaveNone(t *testing.T) {
	t.Parallel()
	inModes(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.WriteHeader(304)
		default:
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "hello")
		}
	}, "", func(t *testing.T, m mode, r *rig, c *http.Client) {
		for range 2 { // the connections are of use afterwards
			for _, path := range []string{"/204", "/304", "/head"} {
				req := getRequest(t, "http://a.example.com"+path)
				if path == "/head" {
					req.Method = "HEAD"
				}
				resp, body := fetch(t, c, req)
				if body != "" || path == "/head" && resp.ContentLength != 5 {
					t.Errorf("%s: %d, body %q, length %d", path, resp.StatusCode, body, resp.ContentLength)
				}
			}
		}
	})
}

func TestInterimAnswersArePassedOn(t *testing.T) {
	t.Parallel()
	inModes(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(103)
		w.WriteHeader(200)
	}, "", func(t *testing.T, m mode, r *rig, c *http.Client) {
		hints := 0
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code == 103 && h.Get("Link") == "</a.css>" {
				hints++
			}
			return nil
		}}
		req := getRequest(t, "http://a.example.com/")
		resp, _ := fetch(t, c, req.WithContext(httptrace.WithClientTrace(context.Background(), trace)))
		if resp.StatusCode != 200 || hints != 1 {
			t.Errorf("%d after %d hints", resp.StatusCode, hints)
		}
	})
}

// capitals answers at once, with the request's body in capitals as it comes.
func capitals(w http.ResponseWriter, r *http.Request) {
	http.NewResponseController(w).EnableFullDuplex()
	w.WriteHeader(200)
	w.(http.Flusher).Flush()
	b := make([]byte, 1000)
	for {
		n, err := r.Body.Read(b)
		w.Write(bytes.ToUpper(b[:n]))
		w.(http.Flusher).Flush()
		if err != nil {
			return
		}
	}
}

func TestBytesPassBothWaysAtOnceAsTheyCome(t *testing.T) {
	t.Parallel()
	inModes(t, capitals, "", func(t *testing.T, m mode, r *rig, c *http.Client) {
		out, in := io.Pipe()
		req, _ := http.NewRequest("POST", "http://a.example.com/", out)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b := make([]byte, 4)
		for range 100 {
			if _, err := in.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != "PING" {
				t.Fatalf("%q %v", b, err)
			}
		}
		in.Close()
		if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
			t.Errorf("%q %v", rest, err)
		}
	})
}

const halfASecond = `
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.example.com]
  http:
  - {match: [{uri: {prefix: /quick}}], route: [{destination: {host: a.example.com}}]}
  - {timeout: 300ms, route: [{destination: {host: a.example.com}}]}
`

func TestARouteTimeoutEndsOneRequestOnly(t *testing.T) {
	t.Parallel()
	inModes(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			return
		}
		io.WriteString(w, "quick")
	}, halfASecond, func(t *testing.T, m mode, r *rig, c *http.Client) {
		var all sync.WaitGroup
		all.Go(func() {
			resp, body := fetch(t, c, getRequest(t, "http://a.example.com/slow"))
			if resp.StatusCode != 504 || body != "upstream request timeout" || resp.Header.Get("Server") != "envoy" {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
		})
		for range 20 {
			if resp, body := fetch(t, c, getRequest(t, "http://a.example.com/quick")); body != "quick" {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
		}
		all.Wait()
		await.True(t, "the log has the time-out", func() bool {
			return strings.Contains(r.access.String(), `"response_flags":"UT","response_code_details":"upstream_response_timeout"`)
		})
	})
}

func TestAnAnswerThatBreaksOffIsNeverTakenForAWholeOne(t *testing.T) {
	t.Parallel()
	inModes(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}, "", func(t *testing.T, m mode, r *rig, c *http.Client) {
		resp, err := c.Do(getRequest(t, "http://a.example.com/"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%q, and no error", got)
		}
	})
}

func TestARequestThatIsGivenUpIsGivenUpUpstream(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan string, 100), make(chan string, 100)
	inModes(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- r.URL.Path
		w.(http.Flusher).Flush()
		for r.Context().Err() == nil { // HTTP/1 tells by writing only
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				break
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
		ended <- r.URL.Path
	}, "", func(t *testing.T, m mode, r *rig, c *http.Client) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		resp, err := c.Do(getRequest(t, "http://a.example.com/").WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		<-begun
		cancel()
		resp.Body.Close()
		select {
		case <-ended:
		case <-time.After(await.Patience):
			t.Error("the server still answers")
		}
	})
}
