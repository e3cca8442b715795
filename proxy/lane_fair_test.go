package proxy_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// longAnswer is so long, and its chunks so small, that a loop is busy with it for a
// while; both kernels can hold all of it, so nobody has to be waited for on the way.
const longAnswer = 32 << 20

func holdsAll(option int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		var err error
		if failed := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 4*longAnswer) }); failed != nil {
			return failed
		}
		return err
	}
}

// longAnswers answers "ok", and longAnswer bytes to who asks for /long.
func longAnswers(t *testing.T) string {
	t.Helper()
	lc := net.ListenConfig{Control: holdsAll(unix.SO_SNDBUFFORCE)}
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	long := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nx\r\n", longAnswer/6)
	return serveOn(t, l, func(c net.Conn) {
		for in := bufio.NewReader(c); ; {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			answer := okAnswer
			if req.URL.Path == "/long" {
				answer = long
			}
			io.WriteString(c, answer)
		}
	})
}

func TestALongAnswerLeavesItsLoopToOthers(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t) // who has them may exceed net.core.wmem_max
	r := laneRig(t, static("a", "a.test", "HTTP", 80, longAnswers(t)))
	others := map[net.Conn]*bufio.Reader{} // on every loop
	for range 8 {
		c := r.dial()
		others[c] = bufio.NewReader(c)
		exchange(t, c, others[c], "GET", get("ok"))
	}
	d := net.Dialer{Control: holdsAll(unix.SO_RCVBUFFORCE)}
	c, err := d.DialContext(t.Context(), "tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exchange(t, c, bufio.NewReader(c), "GET", get("ok"))
	io.WriteString(c, get("long"))
	await.True(t, "the long answer begins", func() bool { return arrived(t, c) > 64<<10 })
	for other := range others {
		io.WriteString(other, get("ok"))
	}
	for _, in := range others {
		answerTo(t, in, "GET")
	}
	if n := arrived(t, c); n > longAnswer/2 {
		t.Errorf("the others were answered when %d bytes of %d had arrived", n, longAnswer)
	}
}

// arrived is how much waits to be read.
func arrived(t *testing.T, c net.Conn) int {
	t.Helper()
	return queued(t, c, unix.TIOCINQ)
}

// queued asks the kernel for the length of one of a socket's queues.
func queued(t *testing.T, c net.Conn, queue uint) (n int) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), queue) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A head that comes in crumbs, each a TLS record of its own, is read by a goroutine
// in the end, and is an answer like any other.
func TestAnAnswersHeadInCrumbsIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "a.test")}})
	if err != nil {
		t.Fatal(err)
	}
	addr := serveOn(t, l, func(c net.Conn) {
		for in := bufio.NewReader(c); ; {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			answer := "HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("x", 3000) + "\r\nContent-Length: 2\r\n\r\nok"
			for i := range len(answer) {
				if _, err := io.WriteString(c, answer[i:i+1]); err != nil {
					return
				}
			}
		}
	})
	r := laneRig(t, static("a", "a.test", "HTTP", 80, addr)+`
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a}
spec: {host: a.test, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: `+ca.file+`}}}
`)
	c := r.dial()
	in := bufio.NewReader(c)
	for i := range 5 {
		if resp, body := exchange(t, c, in, "GET", get("small")); body != "ok" || len(resp.Header.Get("X-Long")) != 3000 {
			t.Fatalf("request %d: %q, %d bytes of the field", i, body, len(resp.Header.Get("X-Long")))
		}
	}
}
