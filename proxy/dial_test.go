package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/proxy/nowait"
)

func TestARawDialSaysHowItFailed(t *testing.T) {
	t.Parallel()
	late, cancelLate := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancelLate()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	full := fullListener(t)
	for _, tc := range []struct {
		name string
		ctx  context.Context
		dst  netip.AddrPort
		want error
		kind ConnectFailure
	}{
		{"a closed port", t.Context(), ClosedPort(t), unix.ECONNREFUSED, ConnectRefused},
		{"a black hole", late, full, os.ErrDeadlineExceeded, ConnectTimeout},
		{"a black hole and a caller who leaves", canceled, full, context.Canceled, ConnectCanceled},
	} {
		fd, _, err := (&dialer{own: new(ownConns)}).raw(tc.ctx, tc.dst, pooled{})
		if fd != -1 || !errors.Is(err, tc.want) {
			t.Errorf("%s: descriptor %d, error %v; want %v", tc.name, fd, err, tc.want)
		}
		if got := (&connectError{err: err}).kind(); got != tc.kind {
			t.Errorf("%s: counted as %v, want %v", tc.name, got, tc.kind)
		}
	}
}

// A connection that does not stand at once is waited for, and its socket is none
// that Go polls afterwards.
func TestARawDialWaitsForASlowServer(t *testing.T) {
	t.Parallel()
	dst, room := fullListenerWithRoom(t)
	ctx, cancel := context.WithTimeout(t.Context(), await.Patience)
	defer cancel()
	type result struct {
		fd    int
		local netip.AddrPort
		err   error
	}
	dialled := make(chan result, 1)
	go func() {
		fd, local, err := (&dialer{own: new(ownConns)}).raw(ctx, dst, pooled{})
		dialled <- result{fd, local, err}
	}()
	room() // the kernel tries again a second after the first attempt
	r := <-dialled
	if r.err != nil {
		t.Fatal(r.err)
	}
	defer unix.Close(r.fd)
	peer, err := unix.Getpeername(r.fd)
	if p, ok := peer.(*unix.SockaddrInet4); err != nil || !ok || p.Port != int(dst.Port()) || r.local.Port() == 0 {
		t.Errorf("the socket leads from %v to %v (%v), want %v", r.local, peer, err, dst)
	}
}

// A loop is sometimes found only once there is a connection upstream.
func TestARawConnectionIsClosedBeforeTheRelayHasIt(t *testing.T) {
	t.Parallel()
	s, server := besideServer(t)
	u := &upstream{server: s, cluster: ungoverned}
	up, err := u.connectOpaque(t.Context(), poolKey{addr: addrPort(server.Addr())}, pooled{})
	if err != nil {
		t.Fatal(err)
	}
	if up.tcp != nil || s.ownConn.passes(up.ends()) == 0 {
		t.Error("the connection is not a raw one, or the proxy does not know it for its own")
	}
	peer, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	up.close()
	peer.SetReadDeadline(time.Now().Add(await.Patience))
	if n, err := peer.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("the server reads %d bytes, %v; want the end", n, err)
	}
	if u.open.Load() != 0 || s.ownConn.passes(up.ends()) > 0 {
		t.Error("a closed connection is still on the books")
	}
}

// besideServer is a proxy that does not serve, and a server's listener.
func besideServer(t *testing.T) (*Server, *net.TCPListener) {
	t.Helper()
	var ls [2]*net.TCPListener
	for i := range ls {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		ls[i] = l
	}
	s, err := New(Config{Listeners: ls[:1]})
	if err != nil {
		t.Fatal(err)
	}
	return s, ls[1]
}

// ClosedPort is an address that refuses connections until the test ends: somebody has it,
// so that no listener of another test gets it, and does not listen.
func ClosedPort(t testing.TB) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, errno := nowait.LocalAddr(fd)
	if errno != 0 {
		t.Fatal(errno)
	}
	return at
}

// fullListener is an address that answers no SYN: its queue is full.
func fullListener(t *testing.T) netip.AddrPort {
	dst, _ := fullListenerWithRoom(t)
	return dst
}

func fullListenerWithRoom(t *testing.T) (dst netip.AddrPort, room func()) {
	t.Helper()
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(l) })
	if err := errors.Join(unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(l, 0)); err != nil {
		t.Fatal(err)
	}
	dst, errno := nowait.LocalAddr(l)
	if errno != 0 {
		t.Fatal(errno)
	}
	var held []net.Conn
	t.Cleanup(func() {
		for _, c := range held {
			c.Close()
		}
	})
	for len(held) < 16 {
		c, err := net.DialTimeout("tcp4", dst.String(), 300*time.Millisecond)
		if err != nil {
			break
		}
		held = append(held, c)
	}
	return dst, func() {
		for range held {
			if fd, _, err := unix.Accept(l); err == nil {
				unix.Close(fd)
			}
		}
	}
}
