package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// echo answers with what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Host", r.Host)
	w.Header().Set("X-Path", r.RequestURI)
	w.Header().Set("X-Te", strings.Join(r.TransferEncoding, ","))
	for name, v := range r.Header {
		w.Header().Set("Got-"+name, strings.Join(v, ", "))
	}
	fmt.Fprintf(w, "%s %d", r.Method, len(body))
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestRegisteredHostIsForwardedHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, serve(t, echo)))
	for _, host := range []string{"api.test", "api.test:80", "API.Test", "api.test.", "api.test.:8080"} {
		got := r.raw("GET /x?y=1 HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.Contains(got, "X-Host: "+host+"\r\n") || !strings.Contains(got, "X-Path: /x?y=1\r\n") {
			t.Errorf("Host %q: got\n%s", host, got)
		}
	}
}

func TestUnregisteredHostGets502AndTheConnectionLivesOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, serve(t, echo)))
	c := r.dial()
	in := bufio.NewReader(c)
	for i, want := range []int{502, 200, 502, 200} {
		host := map[int]string{502: "other.test", 200: "api.test"}[want]
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != want {
			t.Errorf("request %d to %s: status %d, want %d", i, host, resp.StatusCode, want)
		}
		if resp.Header.Get("Server") != "envoy" || resp.Header.Get("Date") == "" {
			t.Errorf("request %d: headers %v", i, resp.Header)
		}
		if want == 502 && (len(body) != 0 || resp.Header.Get("Content-Length") != "0") {
			t.Errorf("request %d: a refusal has no body, got %q", i, body)
		}
	}
}

func TestHTTPOnAPortNobodyDeclaresIsRefusedWith502(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, serve(t, echo)))
	r.to("203.0.113.1:8080")
	if resp, _ := r.get("http://api.test:8080/"); resp.StatusCode != 502 {
		t.Errorf("status %d, want 502", resp.StatusCode)
	}
}

func TestAllowAnySendsUnregisteredHostsWhereTheyWereGoing(t *testing.T) {
	t.Parallel()
	direct := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "direct") })
	r := newRig(t, mesh.AllowAny, static("a", "api.test", "HTTP", 80, serve(t, echo)))
	r.to(direct)
	if _, body := r.get("http://other.test/"); body != "direct" {
		t.Errorf("got %q", body)
	}
}

func TestRouteTimeoutAnswers504AfterThatTime(t *testing.T) {
	t.Parallel()
	slow := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, slow)+`
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [api.test]
  http: [{timeout: 300ms}]
`)
	c := r.client()
	for range 2 { // the second time on the same connection
		start := time.Now()
		resp, err := c.Get("http://api.test/")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		took := time.Since(start)
		if resp.StatusCode != 504 || string(body) != "upstream request timeout" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
		if took < 300*time.Millisecond {
			t.Errorf("took %v", took)
		}
	}
}

func TestRouteTimeoutStartsWhenTheUploadHasEnded(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, serve(t, echo))+`
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [api.test]
  http: [{timeout: 2s}]
`)
	c := r.dial()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\n\r\n")
	for _, b := range "body" {
		<-time.After(600 * time.Millisecond) // an application that uploads slowly, for longer than the timeout
		io.WriteString(c, string(b))
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
}

func TestRefusedUpstreamAnswers503InEnvoysWords(t *testing.T) {
	t.Parallel()
	closed := proxy.ClosedPort(t).String()
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, closed))
	resp, body := r.get("http://api.test/")
	want := "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote connection failure, transport failure reason: delayed connect error: Connection refused"
	if resp.StatusCode != 503 || body != want {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

func TestMalformedRequestsAreRefusedAndTheConnectionCloses(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })))
	many := strings.Repeat("x: y\r\n", 101)
	large := "x: " + strings.Repeat("y", 61<<10) + "\r\n"
	for _, c := range []struct{ name, text, want string }{
		{"no version", "GET /\r\nHost: api.test\r\n\r\n", "400 Bad Request"},
		{"two spaces", "GET  / HTTP/1.1\r\nHost: api.test\r\n\r\n", "400 Bad Request"},
		{"space before colon", "GET / HTTP/1.1\r\nHost : api.test\r\n\r\n", "400 Bad Request"},
		{"folded field", "GET / HTTP/1.1\r\nHost: api.test\r\nA: b\r\n c\r\n\r\n", "400 Bad Request"},
		{"bare line feeds", "GET / HTTP/1.1\nHost: api.test\n\n", "400 Bad Request"},
		{"control byte", "GET / HTTP/1.1\r\nHost: api.test\r\nA: \x01\r\n\r\n", "400 Bad Request"},
		{"two hosts", "GET / HTTP/1.1\r\nHost: api.test\r\nHost: other.test\r\n\r\n", "400 Bad Request"},
		{"no host", "GET / HTTP/1.1\r\n\r\n", "400 Bad Request"},
		{"length and chunked", "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 Bad Request"},
		{"two lengths", "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "400 Bad Request"},
		{"signed length", "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: +3\r\n\r\nabc", "400 Bad Request"},
		{"unknown coding", "POST / HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501 Not Implemented"},
		{"bad chunk", "POST / HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400 Bad Request"},
		{"many fields", "GET / HTTP/1.1\r\nHost: api.test\r\n" + many + "\r\n", "431 Request Header Fields Too Large"},
		{"large field", "GET / HTTP/1.1\r\nHost: api.test\r\n" + large + "\r\n", "431 Request Header Fields Too Large"},
		{"version 3", "GET / HTTP/3.0\r\nHost: api.test\r\n\r\n", "505 HTTP Version Not Supported"},
		{"ten connection options", "GET / HTTP/1.1\r\nHost: api.test\r\nConnection: a,b,c,d,e,f,g,h,i,j\r\n\r\n", "400 Bad Request"},
		{"not HTTP at all", "\x00\x01\x02\x03 hello\r\n\r\n", "400 Bad Request"},
	} {
		got := r.raw(c.text)
		if !strings.HasPrefix(got, "HTTP/1.1 "+c.want+"\r\n") || !strings.Contains(got, "connection: close\r\n") {
			t.Errorf("%s: got %q", c.name, got)
		}
		if strings.Count(got, "HTTP/1.1 ") != 1 {
			t.Errorf("%s: more than one answer: %q", c.name, got)
		}
	}
	if n := reached.Load(); n > 1 { // the bad chunk's head may go out before the chunk comes
		t.Errorf("%d malformed requests reached the server", n)
	}
}

func TestRequestsWithoutAPathToTakeAnswer404(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, serve(t, echo)))
	for _, text := range []string{
		"CONNECT api.test:80 HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n",
	} {
		if got := r.raw(text); !strings.HasPrefix(got, "HTTP/1.1 404 Not Found\r\n") {
			t.Errorf("%q: got %q", text, got)
		}
	}
}

func TestAbsoluteFormGoesUpstreamInOriginForm(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, serve(t, echo)))
	got := r.raw("GET http://api.test/p?q HTTP/1.1\r\nHost: lie.test\r\nConnection: close\r\n\r\n")
	if !strings.Contains(got, "X-Host: api.test\r\n") || !strings.Contains(got, "X-Path: /p?q\r\n") {
		t.Errorf("got %s", got)
	}
	if got := r.raw("GET http://lie.test/ HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("the target's host decides, got %s", got)
	}
}

func TestRoutesAndServersSeeANormalizedPath(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, serve(t, echo))+`
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [api.test]
  http: [{match: [{uri: {prefix: /public/}}], route: [{destination: {host: api.test}}]}]
`)
	for path, want := range map[string]string{
		"/public/x?q=../..":          "200",
		"/public/../secret":          "404",
		`/public\..\secret`:          "404",
		"/public/%2E%2e/secret":      "404",
		"/secret/../public/./x?q=.":  "200",
		"http://api.test/public/../": "404",
	} {
		got := r.raw("GET " + path + " HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 "+want+" ") {
			t.Errorf("%s: got %.40q, want %s", path, got, want)
		}
		if want == "200" && !strings.Contains(got, "X-Path: /public/x?") {
			t.Errorf("%s: the server saw %q", path, got)
		}
	}
}

func TestHopByHopFieldsStopAtTheProxy(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, serve(t, echo)))
	got := r.raw("GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close, x-secret\r\nX-Secret: s\r\nKeep-Alive: 3\r\nProxy-Connection: y\r\nX-Kept: k\r\n\r\n")
	if strings.Contains(got, "Got-X-Secret") || strings.Contains(got, "Got-Keep-Alive") || strings.Contains(got, "Got-Proxy-Connection") {
		t.Errorf("a hop-by-hop field went on: %s", got)
	}
	if !strings.Contains(got, "Got-X-Kept: k\r\n") {
		t.Errorf("an end-to-end field was lost: %s", got)
	}
}

func TestBodiesOfEveryFramingArriveWhole(t *testing.T) {
	t.Parallel()
	hash := serve(t, func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		fmt.Fprintf(w, "%d %x %v", n, h.Sum(nil), err)
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, hash))
	c := r.client()
	for _, size := range []int{0, 1, 4095, 4096, 70_000, 5 << 20} {
		body := bytes.Repeat([]byte("sluice!"), size/7+1)[:size]
		want := fmt.Sprintf("%d %x <nil>", size, sha256.Sum256(body))
		for name, reader := range map[string]io.Reader{"length": bytes.NewReader(body), "chunked": struct{ io.Reader }{bytes.NewReader(body)}} {
			resp, err := c.Post("http://api.test/", "x/y", reader)
			if err != nil {
				t.Fatalf("%s %d: %v", name, size, err)
			}
			got, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(got) != want {
				t.Errorf("%s %d: got %q, want %q", name, size, got, want)
			}
		}
	}
}

func TestAnswersOfEveryFramingArriveWhole(t *testing.T) {
	t.Parallel()
	const big = 3 << 20
	answers := map[string]string{
		"/length":  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"/chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;ext=1\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: t\r\n\r\n",
		"/close":   "HTTP/1.1 200 OK\r\n\r\nhello",
		"/old":     "HTTP/1.0 200 OK\r\n\r\nhello",
		"/empty":   "HTTP/1.1 204 No Content\r\n\r\n",
		"/same":    "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
		"/early":   "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"/big":     fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", big) + strings.Repeat("x", big),
	}
	up := rawServer(t, func(c net.Conn, r *http.Request) {
		io.WriteString(c, answers[r.URL.Path])
		c.Close()
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, up))
	want := map[string]string{"/length": "hello", "/chunked": "hello", "/close": "hello", "/old": "hello", "/empty": "", "/same": "", "/early": "hello", "/big": strings.Repeat("x", big)}
	for path, body := range want {
		resp, got := r.get("http://api.test" + path)
		if got != body {
			t.Errorf("%s: %d bytes %.40q", path, len(got), got)
		}
		if path == "/chunked" && resp.Trailer.Get("X-Trailer") != "t" {
			t.Errorf("the trailer was lost: %v", resp.Trailer)
		}
		if got := r.raw("GET " + path + " HTTP/1.0\r\nHost: api.test\r\n\r\n"); !strings.HasSuffix(got, "\r\n\r\n"+body) || strings.Contains(got, "chunked") {
			t.Errorf("HTTP/1.0 %s: %.200q", path, got)
		}
	}
	if got := r.raw("HEAD /big HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n"); !strings.Contains(got, fmt.Sprintf("Content-Length: %d\r\n", big)) || !strings.HasSuffix(got, "\r\n\r\n") {
		t.Errorf("HEAD: %q", got)
	}
}

// rawServer answers each request with whatever bytes handle writes. A connection that
// handle closes has ended.
func rawServer(t testing.TB, handle func(net.Conn, *http.Request)) string {
	t.Helper()
	return tcpServer(t, func(c *net.TCPConn) {
		for in := bufio.NewReader(c); ; {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			handle(c, r)
		}
	})
}

func TestAnUpstreamThatDiesMidAnswerNeverLooksWhole(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		up := rawServer(t, func(c net.Conn, _ *http.Request) { io.WriteString(c, answer); c.Close() })
		r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, up))
		resp, err := r.client().Get("http://api.test/")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: a cut answer passed for a whole one", name)
		}
	}
}

func TestAnUpstreamThatAnswersGarbageGives502AndSilence503(t *testing.T) {
	t.Parallel()
	up := rawServer(t, func(c net.Conn, r *http.Request) {
		if r.URL.Path == "/garbage" {
			io.WriteString(c, "ceci n'est pas du HTTP\r\n\r\n")
		}
		c.Close()
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, up))
	if resp, body := r.get("http://api.test/garbage"); resp.StatusCode != 502 || !strings.Contains(body, "protocol error") {
		t.Errorf("garbage: %d %q", resp.StatusCode, body)
	}
	if resp, body := r.get("http://api.test/silence"); resp.StatusCode != 503 || !strings.Contains(body, "connection termination") {
		t.Errorf("silence: %d %q", resp.StatusCode, body)
	}
}

func TestExpectContinueGoesToTheServerAndBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, serve(t, echo)))
	c := r.dial()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	in := bufio.NewReader(c)
	if line, _ := in.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("got %q", line)
	}
	in.ReadString('\n')
	io.WriteString(c, "hello")
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	if body, _ := io.ReadAll(resp.Body); string(body) != "POST 5" {
		t.Errorf("got %q", body)
	}
}

func TestWebSocketBecomesATunnel(t *testing.T) {
	t.Parallel()
	up := rawServer(t, func(c net.Conn, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			io.WriteString(c, "HTTP/1.1 400 No\r\n\r\n")
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
		io.Copy(c, c)
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, up))
	c := r.dial()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 101 || !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") {
		t.Fatal(resp, err)
	}
	io.WriteString(c, "frames")
	got := make([]byte, len("earlyframes"))
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "earlyframes" {
		t.Errorf("%q %v", got, err)
	}
	if got := r.raw("GET / HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade\r\nUpgrade: spdy\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 403 ") {
		t.Errorf("another upgrade: %q", got)
	}
}

func TestAnswerBeforeTheBodyEndsIsPassedOnAtOnce(t *testing.T) {
	t.Parallel()
	up := rawServer(t, func(c net.Conn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		c.Close()
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, up))
	c := r.dial()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 1000000\r\n\r\nstart")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 413 {
		t.Fatal(resp, err)
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, serve(t, echo)))
	var text strings.Builder
	for i := range 20 {
		fmt.Fprintf(&text, "POST /%d HTTP/1.1\r\nHost: api.test\r\nContent-Length: 3\r\n\r\nabc", i)
	}
	text.WriteString("GET /end HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n")
	got := r.raw(text.String())
	at := 0
	for i := range 20 {
		next := strings.Index(got[at:], fmt.Sprintf("X-Path: /%d\r\n", i))
		if next < 0 {
			t.Fatalf("answer %d is missing or out of order:\n%s", i, got)
		}
		at += next
	}
}

func TestAChangeOfConfigurationDropsNoneOf200ConcurrentRequests(t *testing.T) {
	t.Parallel()
	up := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	other := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, up))
	stop := make(chan struct{})
	var done atomic.Int64
	var wg sync.WaitGroup
	client := r.client()
	for range 200 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := client.Get("http://api.test/")
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 200 || string(body) != "ok" || err != nil {
					t.Errorf("%d %q %v", resp.StatusCode, body, err)
					return
				}
				done.Add(1)
			}
		})
	}
	for i := range 100 {
		before := done.Load()
		r.apply(mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, []string{up, other}[i%2]))
		await.True(t, "requests pass between any two changes", func() bool { return done.Load() >= before+50 || t.Failed() })
	}
	close(stop)
	wg.Wait()
}

func TestStoppingFinishesWhatIsUnderWayAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	up := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(arrived)
			<-release
		}
		io.WriteString(w, "whole")
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "api.test", "HTTP", 80, up))
	idle := r.dial()
	idleIn := bufio.NewReader(idle)
	io.WriteString(idle, "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n")
	resp, err := http.ReadResponse(idleIn, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.ReadAll(resp.Body)
	silent := r.dial()
	busy := r.dial()
	io.WriteString(busy, "GET /slow HTTP/1.1\r\nHost: api.test\r\n\r\n")
	<-arrived
	r.stop()
	for _, c := range []net.Conn{idle, silent} { // nothing under way: closed before the busy one has its answer
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("an idle connection got bytes")
		}
	}
	if c, err := net.Dial("tcp", r.addr); err == nil {
		c.Close()
		t.Error("a new connection was accepted")
	}
	close(release)
	resp, err = http.ReadResponse(bufio.NewReader(busy), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); string(body) != "whole" || err != nil || !resp.Close {
		t.Errorf("%q %v, close %v", body, err, resp.Close)
	}
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	r.ended <- nil
}
