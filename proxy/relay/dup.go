package relay

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Dup returns a new descriptor for the socket of conn, one that Go's netpoller
// does not know. Once Carry has it, conn is to be closed: the socket lives on.
func Dup(conn *net.TCPConn) (fd int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	if ctl := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); ctl != nil {
		return -1, ctl
	}
	return fd, os.NewSyscallError("fcntl", err)
}
