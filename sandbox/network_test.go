package sandbox

import (
	"testing"

	"golang.org/x/sys/unix"
)

// What is captured is accepted as in a pod: Multipath TCP, Go's default for listeners,
// costs memory and brings nothing on a redirected connection.
func TestTheListenersAreOfPlainTCP(t *testing.T) {
	t.Parallel()
	s, err := openListeners()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for _, l := range append(s.tcp, s.streams...) {
		raw, err := l.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			if p, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || p != unix.IPPROTO_TCP {
				t.Errorf("%v: protocol %d (%v), want TCP", l.Addr(), p, err)
			}
		})
	}
}
