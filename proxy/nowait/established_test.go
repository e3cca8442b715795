package nowait_test

import (
	"net"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/proxy/nowait"
)

func TestAnEndIsSeenBehindBytesThatNobodyHasRead(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*net.TCPConn){
		"close":      func(c *net.TCPConn) { c.Close() },
		"half-close": func(c *net.TCPConn) { c.CloseWrite() },
		"reset":      func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			ours, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer ours.Close()
			theirs, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer theirs.Close()
			raw, err := ours.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			established := func() (yes bool) {
				raw.Control(func(fd uintptr) { yes = nowait.Established(int(fd)) })
				return yes
			}
			theirs.Write([]byte("unread"))
			if !established() {
				t.Fatal("a connection that nobody has ended is not established")
			}
			end(theirs.(*net.TCPConn))
			await.True(t, "the end is seen", func() bool { return !established() })
		})
	}
}
