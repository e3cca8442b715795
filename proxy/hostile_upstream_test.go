package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestHeadsThatNoClientShouldSeeBecome502(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"/huge":    "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 70<<10) + "\r\n\r\n",
		"/many":    "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 101) + "\r\n",
		"/both":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"/lengths": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
		"/folded":  "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n",
		"/lf":      "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
		"/switch":  "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
		"/coding":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	}
	up := rawServer(t, func(c net.Conn, r *http.Request) { io.WriteString(c, answers[r.URL.Path]) })
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up))
	for path := range answers {
		if resp, body := r.get("http://a.test" + path); resp.StatusCode != 502 || !strings.Contains(body, "protocol error") {
			t.Errorf("%s: %d %.200q", path, resp.StatusCode, body)
		}
	}
	for _, line := range r.finish() {
		if line["response_flags"] != "UPE" {
			t.Errorf("logged %v", line)
		}
	}
}

// closesSecond answers the first request of each connection and closes on the
// second: an idle connection that ends just as it is used.
func closesSecond(t *testing.T, requests *atomic.Int32) string {
	return tcpServer(t, func(c *net.TCPConn) {
		in := bufio.NewReader(c)
		for first := true; ; first = false {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			requests.Add(1)
			if !first {
				return
			}
			io.WriteString(c, okAnswer)
		}
	})
}

func TestAConnectionThatEndsAsItIsReusedCostsNoGET(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, closesSecond(t, &requests)))
	c := r.dial()
	in := bufio.NewReader(c)
	for i := range 10 {
		if resp, body := ask(t, c, in, "GET", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); resp.StatusCode != 200 {
			t.Errorf("request %d: %d %q", i, resp.StatusCode, body)
		}
	}
	if n := requests.Load(); n != 19 { // each but the first is sent twice
		t.Errorf("the server saw %d requests", n)
	}
}

func TestAPOSTIsNeverSentTwice(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, closesSecond(t, &requests)))
	c := r.dial()
	in := bufio.NewReader(c)
	const post = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc"
	if resp, _ := ask(t, c, in, "POST", post); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	if resp, body := ask(t, c, in, "POST", post); resp.StatusCode != 503 || !strings.HasSuffix(body, "reset reason: connection termination") {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("the server saw %d requests", n)
	}
	if resp, _ := ask(t, c, in, "POST", post); resp.StatusCode != 200 {
		t.Errorf("the next: %s", resp.Status)
	}
}

func TestAConnectionTheServerHasClosedIsNotReused(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 1)
	up := tcpServer(t, func(c *net.TCPConn) {
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.Copy(io.Discard, r.Body)
			io.WriteString(c, okAnswer)
			c.Close()
			closed <- struct{}{}
		}
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up))
	c := r.dial()
	in := bufio.NewReader(c)
	for i := range 20 {
		if resp, _ := ask(t, c, in, "POST", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc"); resp.StatusCode != 200 {
			t.Errorf("request %d: %s", i, resp.Status)
		}
		<-closed // loopback: its FIN is here
	}
}

const evilAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"

func TestBytesAfterAnAnswerAreNobodysAnswer(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"length":  okAnswer + evilAnswer,
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + evilAnswer,
		"204":     "HTTP/1.1 204 No Content\r\nContent-Length: 39\r\n\r\n" + evilAnswer,
		"304":     "HTTP/1.1 304 Not Modified\r\nContent-Length: 39\r\n\r\n" + evilAnswer,
		"garbage": okAnswer + "\r\n",
	} {
		up := rawServer(t, func(c net.Conn, _ *http.Request) { io.WriteString(c, answer) })
		r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up))
		c := r.dial()
		in := bufio.NewReader(c)
		for i := range 5 {
			resp, body := ask(t, c, in, "GET", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
			if body != "ok" && body != "" {
				t.Errorf("%s: answer %d is %q", name, i, body)
			}
			if resp.StatusCode == 204 && resp.Header.Get("Content-Length") != "" {
				t.Errorf("204 with Content-Length %s", resp.Header.Get("Content-Length"))
			}
		}
	}
}

func TestAHEADAnswersBodyIsNobodysAnswer(t *testing.T) {
	t.Parallel()
	up := rawServer(t, func(c net.Conn, r *http.Request) {
		if r.Method == "HEAD" {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nEVIL\r\n0\r\n\r\n")
			return
		}
		io.WriteString(c, okAnswer)
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up))
	c := r.dial()
	in := bufio.NewReader(c)
	for range 3 {
		ask(t, c, in, "HEAD", "HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		if _, body := ask(t, c, in, "GET", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); body != "ok" {
			t.Errorf("got %q", body)
		}
	}
}

func TestBytesThatComeWhileNobodyAskedEndTheConnection(t *testing.T) {
	t.Parallel()
	speak, spoken := make(chan struct{}), make(chan struct{})
	var conns atomic.Int32
	up := tcpServer(t, func(c *net.TCPConn) {
		first := conns.Add(1) == 1
		in := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			io.WriteString(c, okAnswer)
			if first {
				<-speak
				io.WriteString(c, evilAnswer)
				close(spoken)
			}
		}
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up))
	c := r.dial()
	in := bufio.NewReader(c)
	for i := range 2 {
		if _, body := ask(t, c, in, "GET", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); body != "ok" {
			t.Errorf("answer %d: %q", i, body)
		}
		if i == 0 {
			close(speak)
			<-spoken
		}
	}
}

func TestASwitchInTheMiddleOfABodyIsRefused(t *testing.T) {
	t.Parallel()
	up := tcpServer(t, func(c *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
			io.Copy(io.Discard, c)
		}
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up))
	c := r.dial()
	resp, _ := ask(t, c, bufio.NewReader(c), "GET", "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 100000\r\n\r\nstart")
	if resp.StatusCode != 502 {
		t.Errorf("%d", resp.StatusCode)
	}
}

func TestAnAnswerToABodyNobodyReadsArrives(t *testing.T) {
	t.Parallel()
	up := tcpServer(t, func(c *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.WriteString(c, okAnswer)
			<-t.Context().Done() // reads no more, closes nothing
		}
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up))
	for _, framing := range []string{"Content-Length: 100000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nfffffff\r\n"} {
		c := r.dial()
		go func() {
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.test\r\n"+framing)
			for block := make([]byte, 64<<10); ; {
				if _, err := c.Write(block); err != nil {
					return
				}
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != "ok" || err != nil {
			t.Errorf("%q %v", body, err)
		}
	}
}

func TestInterimAnswersWithoutEndAreCutOff(t *testing.T) {
	t.Parallel()
	up := rawServer(t, func(c net.Conn, _ *http.Request) {
		for {
			if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n"); err != nil {
				return
			}
		}
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up))
	got := r.raw("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 502 ") || !strings.Contains(r.log.String()+got, "protocol error") {
		t.Errorf("got %.200q", got)
	}
}

func TestInterimAnswersNowAndThenEndWithTheRouteTimeout(t *testing.T) {
	t.Parallel()
	up := rawServer(t, func(c net.Conn, _ *http.Request) {
		for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C { // a server that keeps saying "soon"
			if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n"); err != nil {
				tick.Stop()
				return
			}
		}
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up)+timeout("a.test", "300ms"))
	got := r.raw("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 504 ") {
		t.Errorf("got %.200q", got)
	}
}

func timeout(host, after string) string {
	return fmt.Sprintf(`
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: timeout}
spec:
  hosts: [%s]
  http: [{timeout: %s}]
`, host, after)
}
