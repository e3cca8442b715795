package proxy

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAListenerIsOfPlainTCPWithoutProbes(t *testing.T) {
	t.Parallel()
	l, err := Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	for name, c := range map[string]syscall.Conn{"listener": l, "accepted": accepted} {
		if p := option(t, c, unix.SO_PROTOCOL); p != unix.IPPROTO_TCP {
			t.Errorf("%s: protocol %d, want TCP", name, p)
		}
		if option(t, c, unix.SO_KEEPALIVE) != 0 {
			t.Errorf("%s: keep-alive probes are on", name)
		}
	}
}

// option is a socket's option of level SOL_SOCKET.
func option(t *testing.T, c syscall.Conn, name int) (value int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, name) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return value
}
