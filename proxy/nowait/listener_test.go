package nowait_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/nowait"
)

// Whoever has the same socket may have it block, and does not have us wait.
func TestAListenerThatSomebodyElseHasBlockDoesNotBlock(t *testing.T) {
	t.Parallel()
	var plain net.ListenConfig // of Multipath TCP, which is Go's default, the limit is not heeded
	plain.SetMultipathTCP(false)
	l, err := plain.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fd, err := nowait.Dup(l.(*net.TCPListener))
	if err != nil {
		t.Fatal(err)
	}
	defer nowait.Close(fd)
	if err := errors.Join(nowait.Listener(fd), unix.SetNonblock(fd, false)); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if got, _, errno := nowait.Accept(fd); errno != unix.EAGAIN {
		t.Errorf("accepted %d, %v where nobody waits", got, errno)
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("it took %v", took)
	}
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	got, _, errno := nowait.Accept(fd)
	if errno != 0 {
		t.Fatal(errno)
	}
	defer nowait.Close(got)
	if flags, err := unix.FcntlInt(uintptr(got), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("what was accepted blocks (%#x, %v)", flags, err)
	}
}
