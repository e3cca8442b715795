package nowait

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dup returns a descriptor of its own for the socket of c, a connection or a listener,
// that Go's netpoller does not know: once c is closed, nobody else has the socket.
func Dup(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	if ctl := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); ctl != nil {
		return -1, ctl
	}
	if err != nil {
		return -1, os.NewSyscallError("duplicate a socket", err)
	}
	return fd, nil
}
