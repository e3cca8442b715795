package proxy

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Mark is a packet mark (SO_MARK), by which rules and routes tell the proxy's own
// packets; 0 is none. Any other needs CAP_NET_ADMIN.
type Mark uint32

// Dialer makes sockets that carry the mark. Each call returns a new one, the
// caller's to change.
func (m Mark) Dialer() *net.Dialer {
	d := &net.Dialer{}
	if m != 0 {
		d.Control = func(_, _ string, raw syscall.RawConn) error {
			var set error
			err := raw.Control(func(fd uintptr) { set = m.set(int(fd)) })
			return errors.Join(err, set)
		}
	}
	return d
}

// Try returns the error that marking a socket of this process ends with.
func (m Mark) Try() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	return m.set(fd)
}

func (m Mark) set(fd int) error {
	if m == 0 {
		return nil
	}
	return os.NewSyscallError("setsockopt SO_MARK", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(m)))
}
