package proxy

import (
	"errors"
	"net"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/nowait"
)

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

func isReset(err error) bool { return errors.Is(err, unix.ECONNRESET) }

func stack() string { return string(debug.Stack()) }

// peek looks at the next byte of a socket without taking it or waiting for it.
func peek(fd uintptr) (n int, errno unix.Errno) {
	var b [1]byte
	return nowait.Recv(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
}

// ended says that the peer of a socket has closed or reset it.
func ended(fd uintptr) bool {
	n, errno := peek(fd)
	return errno == 0 && n == 0 || errno != 0 && errno != unix.EAGAIN
}

func isNotConnected(err error) bool { return errors.Is(err, unix.ENOTCONN) }
