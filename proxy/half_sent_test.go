package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/proxy"
)

// halfTaken is as long a request as a lane forwards whole: a head that makes the
// proxy's buffer grow, and a body that fills it. The sockets of the test hold less
// than half of it.
func halfTaken(method string) string {
	head := fmt.Sprintf("%s /half HTTP/1.1\r\nHost: a.test\r\nX-Long: %s\r\nContent-Length: 9000\r\n\r\n", method, strings.Repeat("x", 5000))
	return head + strings.Repeat("y", 9000)
}

// narrow sets a socket's buffer to the least that the kernel gives, a few kilobytes.
func narrow(option int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) (err error) {
		if failed := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 1) }); failed != nil {
			return failed
		}
		return err
	}
}

// halfTaker answers its first connection's first request once the next has arrived
// at the proxy, takes a little of that one and resets the connection. On others it
// answers everything, and counts.
func halfTaker(t *testing.T, first string, arrived <-chan struct{}) (addr string, again *atomic.Int32) {
	t.Helper()
	lc := net.ListenConfig{Control: narrow(unix.SO_RCVBUF)}
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	again = &atomic.Int32{}
	var conns atomic.Int32
	return serveOn(t, l, func(c net.Conn) {
		in := bufio.NewReader(c)
		if conns.Add(1) == 1 {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			<-arrived
			io.WriteString(c, first)
			io.ReadFull(in, make([]byte, 1000))
			cut(c.(*net.TCPConn))
			return
		}
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			again.Add(1)
			io.Copy(io.Discard, r.Body)
			io.WriteString(c, okAnswer)
		}
	}), again
}

// A server that took a part of a request may have acted on it. Whether a request may
// be sent twice decides what follows: another connection, or 503.
func TestARequestHalfTakenIsSentAgainOnlyWhereThatDoesNoHarm(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300<<10) // an answer that no lane carries: its connection stays with its goroutine
	for _, who := range []struct{ name, first string }{
		{"a lane", okAnswer},
		{"a goroutine", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long)},
	} {
		for method, want := range map[string]struct {
			status int
			flags  string
			again  int32
		}{
			"POST": {503, "UC", 0},
			"GET":  {200, "-", 1},
		} {
			t.Run(who.name+" "+method, func(t *testing.T) {
				t.Parallel()
				arrived := make(chan struct{})
				up, again := halfTaker(t, who.first, arrived)
				r := laneRig(t, static("a", "a.test", "HTTP", 80, up), func(cfg *proxy.Config) {
					d := net.Dialer{Control: narrow(unix.SO_SNDBUF)}
					cfg.Dial = func(ctx context.Context, dst netip.AddrPort) (*net.TCPConn, error) {
						return d.DialTCP(ctx, "tcp", netip.AddrPort{}, dst)
					}
				})
				c := r.dial()
				if _, err := io.WriteString(c, get("first")+halfTaken(method)); err != nil {
					t.Fatal(err)
				}
				await.True(t, "the proxy has all of both requests", func() bool { return unacknowledged(t, c) == 0 })
				close(arrived)
				in := bufio.NewReader(c)
				if resp, _ := answerTo(t, in, "GET"); resp.StatusCode != 200 {
					t.Fatalf("the first request: %s", resp.Status)
				}
				resp, body := answerTo(t, in, method)
				if resp.StatusCode != want.status || again.Load() != want.again {
					t.Errorf("%s %q, sent again %d times; want %d and %d", resp.Status, body, again.Load(), want.status, want.again)
				}
				lines := r.finish()
				if last := lines[len(lines)-1]; last["response_flags"] != want.flags || len(lines) != 2 {
					t.Errorf("logged %v, want flags %s", lines, want.flags)
				}
			})
		}
	}
}

// unacknowledged is how much of what was written has not arrived.
func unacknowledged(t *testing.T, c *net.TCPConn) int {
	t.Helper()
	return queued(t, c, unix.TIOCOUTQ)
}
