package proxy_test

import (
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// faultyAtEnd opens descriptors when a carried connection ends, which so have the
// numbers of its sockets, and fails.
type faultyAtEnd struct {
	mu   sync.Mutex
	open []int
}

func (f *faultyAtEnd) Observe(e proxy.Event) {
	if e.Kind != proxy.TCPClosed {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for range 16 {
		if fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			f.open = append(f.open, fd)
		}
	}
	panic("a fault of the observer's")
}

// What the relay engine has closed is nobody's to close again, whatever goes wrong
// after it: the number may be another connection's at once. (It runs alone: numbers
// are the process's.)
func TestAFaultAtTheEndOfATunnelClosesNoOthersDescriptor(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := serveOn(t, server, func(c net.Conn) { io.Copy(c, c) })
	faulty := new(faultyAtEnd)
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "TCP", 80, addr), func(cfg *proxy.Config) { cfg.Observer = faulty })
	c := r.dial()
	io.WriteString(c, "hello")
	c.CloseWrite()
	io.ReadAll(c)
	r.stop()
	select {
	case <-r.ended:
		r.ended <- nil
	case <-time.After(await.Patience):
		t.Fatal("the proxy did not stop")
	}
	faulty.mu.Lock()
	defer faulty.mu.Unlock()
	if len(faulty.open) == 0 {
		t.Fatal("nothing was opened")
	}
	for _, fd := range faulty.open {
		if err := unix.Close(fd); err != nil {
			t.Errorf("descriptor %d was closed by somebody else: %v", fd, err)
		}
	}
}
