package load_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/load"
	"github.com/sluice-cni/sluice/internal/await"
)

// serve is a server on loopback that does this with each connection.
func serve(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f(c)
		}
	}()
	return l.Addr().String()
}

func reset(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// unused is an address that nobody listens on.
func unused(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	a, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: a.(*syscall.SockaddrInet4).Port}).String()
}

// What a test concludes from a failure hangs on its class.
func TestFailuresAreOfAClass(t *testing.T) {
	t.Parallel()
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go web.Serve(l)
	t.Cleanup(func() { web.Close() })
	for _, test := range []struct {
		what, address string
		kind          load.Kind
	}{
		{"", l.Addr().String(), load.HTTP},
		{"refused", unused(t), load.HTTP},
		{"refused", unused(t), load.TLS},
		{"reset", serve(t, reset), load.TCP},
		{"closed", serve(t, func(c net.Conn) { go func() { io.ReadFull(c, make([]byte, 2)); c.Close() }() }), load.TCP},
		{"late", serve(t, func(net.Conn) {}), load.HTTP},
		{"wrong", serve(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n") }), load.HTTP},
		{"", serve(t, func(c net.Conn) { go io.Copy(c, c) }), load.TCP},
		{"", unused(t), load.Probe},
	} {
		t.Run(test.what+" "+string(test.kind), func(t *testing.T) {
			t.Parallel()
			patience := await.Patience
			if test.what == "late" {
				patience = time.Second
			}
			r := load.Run(t.Context(), load.Spec{PerSecond: 100, Count: 1, Patience: patience,
				Targets: []load.Target{{Kind: test.kind, Address: test.address, Name: "a"}}})
			switch {
			case len(r.Failures)+r.Good[test.kind] != 1:
				t.Errorf("not one connection: %+v", r)
			case test.what == "" && len(r.Failures) > 0, test.what != "" && (len(r.Failures) == 0 || r.Failures[0].What != test.what):
				t.Errorf("%+v, want %q", r, test.what)
			}
		})
	}
}

func TestTheRateIsKept(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	began := time.Now()
	r := load.Run(ctx, load.Spec{PerSecond: 200, Targets: []load.Target{
		{Kind: load.TCP, Address: serve(t, func(c net.Conn) { go io.Copy(c, c) }), Name: "a"},
		{Kind: load.Probe, Address: unused(t)},
	}})
	// What a slow machine leaves out is made up for until the end.
	want := int(200 * time.Since(began).Seconds())
	if got := r.Good[load.TCP] + r.Good[load.Probe]; got > want || got < 50 || len(r.Failures) > 0 {
		t.Errorf("%d connections in %v: %+v", got, time.Since(began), r)
	}
}

func TestAStreamTellsHowItEnded(t *testing.T) {
	t.Parallel()
	good := load.Target{Kind: load.TCP, Address: serve(t, func(c net.Conn) { go io.Copy(c, c) }), Name: "a"}
	if s := load.Stream(t.Context(), good, 120*time.Millisecond); s.What != "" || s.Ended.Sub(s.Began) < 120*time.Millisecond {
		t.Errorf("a stream that ends by itself: %+v", s)
	}
	cut := load.Target{Kind: load.TCP, Address: serve(t, func(c net.Conn) {
		io.CopyN(c, c, 4)
		reset(c)
	}), Name: "a"}
	if s := load.Stream(t.Context(), cut, time.Minute); s.What == "" {
		t.Errorf("a stream that is cut: %+v", s)
	}
}
