package wire

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"golang.org/x/sys/unix"
)

// pair is two connected ends, closed with the test.
func pair(t testing.TB) (a, b *Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*Conn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = NewConn(c.(*net.UnixConn))
		t.Cleanup(func() { ends[i].Close() })
	}
	return ends[0], ends[1]
}

func soon() time.Time { return time.Now().Add(await.Patience) }

func TestAMessageArrivesWithItsFiles(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := Holding{Netns: Netns{4, 5}, Attachment: Attachment{ContainerID: "c", Interface: "eth0", Path: "/run/netns/x"},
		Pod: PodName{Namespace: "shop", Name: "cart"}, Sockets: []Socket{{RoleTCP, "tcp4", 15001}}, Policy: PolicyBlock}
	if err := a.Send(Hold, want, f); err != nil {
		t.Fatal(err)
	}
	m, err := b.Receive(soon())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var got Holding
	if err := m.Into(&got); err != nil || m.Kind != Hold || len(m.Files) != 1 || got.Sockets[0] != want.Sockets[0] || got.Netns != want.Netns {
		t.Fatalf("%v %v %+v", err, m, got)
	}
	received, err := net.FileListener(m.Files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer received.Close()
	if received.Addr().String() != l.Addr().String() {
		t.Errorf("received a listener at %s, sent %s", received.Addr(), l.Addr())
	}
	// Sending the file must not have made the socket block for everybody.
	if flags, err := unix.FcntlInt(m.Files[0].Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("the socket blocks by now (flags %#x, %v)", flags, err)
	}
}
