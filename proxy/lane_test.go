package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// laneRig is a rig whose connections are in a lane whenever they can be.
func laneRig(t *testing.T, yaml string, change ...func(*proxy.Config)) *rig {
	t.Helper()
	r := newRig(t, mesh.RegistryOnly, yaml, change...)
	proxy.GoToLanes(r.server)
	return r
}

// exchange sends a request on a kept-alive connection and reads the answer.
func exchange(t *testing.T, c net.Conn, in *bufio.Reader, method, text string) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return answerTo(t, in, method)
}

func answerTo(t *testing.T, in *bufio.Reader, method string) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// script is a server that answers the request for /NAME with answers[NAME], as it
// stands; an answer that ends in CLOSE ends the connection.
func script(t *testing.T, answers map[string]string) string {
	return tcpServer(t, func(c *net.TCPConn) { play(c, answers) })
}

func play(c net.Conn, answers map[string]string) {
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(req.Body)
		answer, known := answers[strings.TrimPrefix(req.URL.Path, "/")]
		if !known {
			answer = fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
		answer, last := strings.CutSuffix(answer, closed)
		if _, err := io.WriteString(c, answer); err != nil || last {
			return
		}
	}
}

// overTLS is script inside TLS, with a certificate for a.test. It counts the
// sessions that were resumed.
func overTLS(t *testing.T, a *authority, answers map[string]string) (address string, resumed *atomic.Int64) {
	config := &tls.Config{Certificates: []tls.Certificate{a.issue(t, "a.test")}}
	resumed = &atomic.Int64{}
	return tcpServer(t, func(tcp *net.TCPConn) {
		c := tls.Server(tcp, config)
		if c.Handshake() != nil {
			return
		}
		if c.ConnectionState().DidResume {
			resumed.Add(1)
		}
		play(c, answers)
		c.Close()
	}), resumed
}

const closed = "CLOSE"

func get(path string) string { return "GET /" + path + " HTTP/1.1\r\nHost: a.test\r\n\r\n" }

// Whatever comes in whatever order on one connection, each request gets its own
// answer: in the lane, out of it, and back.
func TestALaneAndItsGoroutinesServeOneConnectionTogether(t *testing.T) {
	t.Parallel()
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		serveTogether(t, func(answers map[string]string) string {
			return static("a", "a.test", "HTTP", 80, script(t, answers))
		})
	})
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		a := newAuthority(t)
		serveTogether(t, func(answers map[string]string) string {
			up, _ := overTLS(t, a, answers)
			return static("a", "a.test", "HTTP", 80, up) + originate("a.test", a.file, "")
		})
	})
}

func serveTogether(t *testing.T, register func(answers map[string]string) string) {
	long := strings.Repeat("0123456789abcdef", 40<<10) // 640 KB: moved by the kernel
	medium := long[:200<<10]                           // by the lane, in many turns
	chunks := ""
	for i := range 300 {
		chunks += fmt.Sprintf("%x;ext=1\r\n%s\r\n", 1000+i, long[:1000+i])
	}
	answers := map[string]string{
		"small":     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmall",
		"medium":    fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(medium), medium),
		"long":      fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long),
		"chunked":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n" + chunks + "0\r\nX-T: end\r\n\r\n",
		"none":      "HTTP/1.1 204 No Content\r\n\r\n",
		"unchanged": "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n",
		"early":     "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly",
		"close":     "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nclose" + closed,
		"until":     "HTTP/1.1 200 OK\r\n\r\nuntil the end" + closed,
	}
	r := laneRig(t, register(answers))
	c := r.dial()
	in := bufio.NewReader(c)
	chunked := strings.Builder{}
	for i := range 300 {
		chunked.WriteString(long[:1000+i])
	}
	want := map[string]string{"small": "small", "medium": medium, "long": long, "chunked": chunked.String(), "none": "", "unchanged": "",
		"close": "close", "until": "until the end"}
	order := []string{"small", "small", "medium", "none", "chunked", "small", "unchanged", "long", "small", "close", "small", "until", "small", "medium"}
	for i, path := range append(order, order...) {
		resp, body := exchange(t, c, in, "GET", get(path))
		if body != want[path] {
			t.Fatalf("request %d, /%s: %d bytes instead of %d (%s)", i, path, len(body), len(want[path]), resp.Status)
		}
		if path == "chunked" && resp.Trailer.Get("X-T") != "end" {
			t.Errorf("trailers %v", resp.Trailer)
		}
	}
	if resp, _ := exchange(t, c, in, "HEAD", strings.Replace(get("medium"), "GET", "HEAD", 1)); resp.ContentLength != int64(len(medium)) {
		t.Errorf("HEAD: %v", resp.Header)
	}
	if resp, _ := exchange(t, c, in, "GET", get("early")); resp.StatusCode != 103 {
		t.Errorf("interim: %s", resp.Status)
	}
	if _, body := answerTo(t, in, "GET"); body != "early" {
		t.Errorf("after the interim answer: %q", body)
	}
	if resp, _ := exchange(t, c, in, "GET", "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n"); resp.StatusCode != 502 {
		t.Errorf("unregistered: %s", resp.Status)
	}
	post := "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\n"
	if _, body := exchange(t, c, in, "POST", post+"body"); body != "body" {
		t.Errorf("a body with its head: %q", body)
	}
	io.WriteString(c, post)
	if _, body := exchange(t, c, in, "POST", "late"); body != "late" {
		t.Errorf("a body after its head: %q", body)
	}
	if _, body := exchange(t, c, in, "GET", get("small")+get("none")+get("medium")[:20]); body != "small" {
		t.Errorf("pipelined: %q", body)
	}
	if resp, _ := answerTo(t, in, "GET"); resp.StatusCode != 204 {
		t.Errorf("pipelined, second: %s", resp.Status)
	}
	if _, body := exchange(t, c, in, "GET", get("medium")[20:]); body != medium {
		t.Errorf("pipelined, third: %d bytes", len(body))
	}
	if resp, _ := exchange(t, c, in, "GET", "bad request\r\n\r\n"); resp.StatusCode != 400 || !resp.Close {
		t.Errorf("garbage: %s", resp.Status)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("after garbage: %v", err)
	}
}

// The next connection to a name resumes the session of the last, also when the
// configuration has changed around it.
func TestSessionsAreResumedAcrossConnectionsAndConfigurations(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	up, resumed := overTLS(t, a, map[string]string{"x": "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok" + closed})
	yaml := static("a", "a.test", "HTTP", 80, up) + originate("a.test", a.file, "")
	r := newRig(t, mesh.RegistryOnly, yaml)
	for i := range 4 {
		c := r.dial()
		if _, body := exchange(t, c, bufio.NewReader(c), "GET", get("x")); body != "ok" {
			t.Fatalf("%d: %q", i, body)
		}
		r.apply(mesh.RegistryOnly, yaml+static("b", fmt.Sprintf("b%d.test", i), "HTTP", 80, up))
	}
	if n := resumed.Load(); n != 3 {
		t.Errorf("%d of 3 sessions were resumed", n)
	}
}

// A client that does not read costs no more than the buffers between the two, and
// others go on.
func TestASlowReaderHoldsUpItsOwnAnswerOnly(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	block := bytes.Repeat([]byte("x"), 16<<10)
	const total = 24 << 20
	up := rawServer(t, func(c net.Conn, req *http.Request) {
		if req.URL.Path == "/small" {
			io.WriteString(c, okAnswer)
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range total / len(block) {
			if _, err := fmt.Fprintf(c, "%x\r\n%s\r\n", len(block), block); err != nil {
				return
			}
			sent.Add(int64(len(block)))
		}
		io.WriteString(c, "0\r\n\r\n")
	})
	r := laneRig(t, static("a", "a.test", "HTTP", 80, up))
	c := r.dial()
	in := bufio.NewReader(c)
	exchange(t, c, in, "GET", get("small"))
	c.SetDeadline(time.Now().Add(5 * time.Minute)) // much to do for a busy machine
	io.WriteString(c, get("large"))
	other := r.dial()
	other.SetDeadline(time.Now().Add(5 * time.Minute))
	otherIn := bufio.NewReader(other)
	for last, still := int64(-1), 0; still < 20; { // until nothing moves any more
		if _, body := exchange(t, other, otherIn, "GET", get("small")); body != "ok" {
			t.Fatal(body)
		}
		if now := sent.Load(); now == last && now > 0 {
			still++
		} else {
			last, still = now, 0
		}
	}
	if n := sent.Load(); n > total/2 {
		t.Fatalf("%d bytes were taken from the server for a client that reads none", n)
	}
	if _, body := answerTo(t, in, "GET"); len(body) != total {
		t.Errorf("%d bytes of %d", len(body), total)
	}
	if _, body := exchange(t, c, in, "GET", get("small")); body != "ok" {
		t.Error(body)
	}
}

func TestAnAnswerCutInALaneIsCutForTheApplication(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf" + closed,
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + closed,
		"wrong":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX",
		"head":    "HTTP/1.1 200 OK\r\nContent-Le" + closed,
		"small":   okAnswer,
	}
	r := laneRig(t, static("a", "a.test", "HTTP", 80, script(t, answers)))
	for _, path := range []string{"length", "chunked", "wrong"} {
		c := r.dial()
		in := bufio.NewReader(c)
		exchange(t, c, in, "GET", get("small"))
		io.WriteString(c, get(path))
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			continue
		}
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("/%s: half an answer passes for a whole one", path)
		}
	}
	c := r.dial()
	in := bufio.NewReader(c)
	exchange(t, c, in, "GET", get("small"))
	if resp, body := exchange(t, c, in, "GET", get("head")); resp.StatusCode != 503 || !strings.Contains(body, "connection termination") {
		t.Errorf("%s %s", resp.Status, body)
	}
}

func TestARouteTimeoutHoldsInALane(t *testing.T) {
	t.Parallel()
	up := rawServer(t, func(c net.Conn, req *http.Request) {
		switch req.URL.Path {
		case "/never":
		case "/half":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		default:
			io.WriteString(c, okAnswer)
		}
	})
	r := laneRig(t, static("a", "a.test", "HTTP", 80, up)+timeout("a.test", "300ms"))
	c := r.dial()
	in := bufio.NewReader(c)
	for range 2 {
		exchange(t, c, in, "GET", get("small"))
		start := time.Now()
		resp, body := exchange(t, c, in, "GET", get("never"))
		if resp.StatusCode != 504 || body != "upstream request timeout" {
			t.Errorf("%s %q", resp.Status, body)
		}
		if d := time.Since(start); d < 290*time.Millisecond {
			t.Errorf("after %v", d)
		}
	}
	exchange(t, c, in, "GET", get("small"))
	io.WriteString(c, get("half"))
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("half an answer passes for a whole one")
	}
}

// Bytes that a server sends unasked, behind an answer or on an idle connection, are
// never the answer to somebody's request.
func TestUnaskedBytesAnswerNothingInALane(t *testing.T) {
	t.Parallel()
	poison := "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	answers := map[string]string{
		"behind": okAnswer + poison,
		"small":  okAnswer,
	}
	r := laneRig(t, static("a", "a.test", "HTTP", 80, script(t, answers)))
	c := r.dial()
	in := bufio.NewReader(c)
	for i := range 50 {
		path := []string{"small", "behind"}[i%2]
		if _, body := exchange(t, c, in, "GET", get(path)); body != "ok" {
			t.Fatalf("request %d: %q", i, body)
		}
	}
}

// A server that closes idle connections costs nobody an answer.
func TestAConnectionThatClosedWhileIdleInALaneIsNotUsed(t *testing.T) {
	t.Parallel()
	var served atomic.Int64
	up := tcpServer(t, func(c *net.TCPConn) {
		in := bufio.NewReader(c)
		for range 3 {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			served.Add(1)
			io.WriteString(c, okAnswer)
		}
	})
	r := laneRig(t, static("a", "a.test", "HTTP", 80, up))
	c := r.dial()
	in := bufio.NewReader(c)
	for i := range 30 {
		text := get("small")
		if i%2 == 0 {
			text = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx"
		}
		if i%6 == 0 && i > 0 { // a POST is sent once only: the close must have arrived
			await.True(t, "the closed connection is forgotten", func() bool { return r.server.Pools()[0].Idle == 0 })
		}
		if resp, body := exchange(t, c, in, "GET", text); body != "ok" {
			t.Fatalf("request %d: %s %s", i, resp.Status, body)
		}
	}
	if served.Load() != 30 {
		t.Errorf("served %d times", served.Load())
	}
}

// An idle connection is a few hundred bytes in a lane, not a goroutine.
func TestIdleConnectionsHoldNoGoroutine(t *testing.T) {
	// Not parallel: it counts the process's goroutines.
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, answerer(t, smallAnswer)))
	const n = 300
	before := runtime.NumGoroutine()
	for range n {
		c := r.dial()
		loop(t, c, smallRequest, "world\n", 2)
	}
	few := func() bool { return runtime.NumGoroutine() <= before+n/4 } // they serve upstream connections
	if !await.Within(await.Patience, few) {
		t.Fatalf("%d goroutines more for %d idle connections", runtime.NumGoroutine()-before, n)
	}
}

func TestDrainingEndsIdleConnectionsInALaneAndLetsOthersFinish(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	up := rawServer(t, func(c net.Conn, req *http.Request) {
		if req.URL.Path == "/slow" {
			arrived <- struct{}{}
			<-release
		}
		io.WriteString(c, okAnswer)
	})
	r := laneRig(t, static("a", "a.test", "HTTP", 80, up))
	idle, busy := r.dial(), r.dial()
	idleIn, busyIn := bufio.NewReader(idle), bufio.NewReader(busy)
	exchange(t, idle, idleIn, "GET", get("small"))
	exchange(t, busy, busyIn, "GET", get("small"))
	io.WriteString(busy, get("slow"))
	<-arrived
	r.stop()
	if _, err := idleIn.ReadByte(); err != io.EOF {
		t.Errorf("an idle connection: %v", err)
	}
	close(release)
	resp, body := answerTo(t, busyIn, "GET")
	if body != "ok" || !resp.Close {
		t.Errorf("%q, close %v", body, resp.Close)
	}
	if _, err := busyIn.ReadByte(); err != io.EOF {
		t.Errorf("after the last answer: %v", err)
	}
}

// What does not finish is cut at the end of the drain, in lanes as elsewhere.
func TestTheEndOfTheDrainCutsWhatIsInALane(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 1)
	up := rawServer(t, func(c net.Conn, req *http.Request) {
		if req.URL.Path == "/slow" {
			arrived <- struct{}{}
			return
		}
		io.WriteString(c, okAnswer)
	})
	r := laneRig(t, static("a", "a.test", "HTTP", 80, up), func(cfg *proxy.Config) { cfg.DrainTimeout = 100 * time.Millisecond })
	c := r.dial()
	in := bufio.NewReader(c)
	exchange(t, c, in, "GET", get("small"))
	io.WriteString(c, get("slow"))
	<-arrived
	r.stop()
	if b, err := io.ReadAll(in); err == nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
}
