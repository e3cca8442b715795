package loop

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/nowait"
)

// Read reads from a non-blocking socket without telling the scheduler, which needs
// no time to let others run: the call returns at once. Zero bytes and no error
// cannot be; the end is io.EOF, and nothing there is unix.EAGAIN.
func Read(fd int, b []byte) (int, error) {
	n, errno := nowait.Recv(fd, b, 0)
	switch {
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write writes to a non-blocking socket like Read. A short count is no error.
func Write(fd int, b []byte) (int, error) {
	n, errno := nowait.Send(fd, b)
	if errno != 0 {
		return 0, errno
	}
	return n, nil
}

// Detach takes the socket out of a connection that the runtime polls; the
// connection is closed, the socket is not.
func Detach(c *net.TCPConn) (fd int, err error) {
	if fd, err = nowait.Dup(c); err != nil {
		return -1, err
	}
	c.Close()
	return fd, nil
}

// Attach is the opposite of Detach. The socket is closed if it fails. Its keep-alive
// probes stay as they are.
func Attach(fd int) (*net.TCPConn, error) { return AttachOr(fd, func() bool { return false }) }

// AttachOr is Attach; each time that it fails lost is called while the socket is still
// open, so that its peer can be told, and says whether to try again.
func AttachOr(fd int, lost func() (again bool)) (*net.TCPConn, error) {
	f := os.NewFile(uintptr(fd), "tcp")
	defer f.Close()
	before := probesOf(fd)
	c, err := net.FileConn(f)
	for err != nil {
		if !lost() {
			return nil, err
		}
		c, err = net.FileConn(f)
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		c.Close()
		return nil, syscall.EPROTOTYPE
	}
	before.restore(fd) // the same socket, whoever's descriptor
	return tcp, nil
}

// probes are a socket's keep-alive probes, which Go turns on, and sets the times of, with
// every connection that it is given.
type probes [len(probeOptions)]int

var probeOptions = [...]struct{ level, name int }{
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
}

func probesOf(fd int) (p probes) {
	for i, o := range probeOptions {
		p[i], _ = unix.GetsockoptInt(fd, o.level, o.name)
	}
	return p
}

func (p *probes) restore(fd int) {
	for i, o := range probeOptions {
		unix.SetsockoptInt(fd, o.level, o.name, p[i])
	}
}
