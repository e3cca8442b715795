// Package nowait makes system calls that return at once, on non-blocking sockets and
// pipes, without telling the scheduler.
//
// The usual way announces every call, lest it wait. To announce one costs little, but
// where it takes the kernel 20 µs (a connect over loopback does, with the whole
// handshake in it) the scheduler's monitor takes the processor away, wakes another
// thread for it, and from then on looks every 20 µs: a tenth of the processor time of
// a proxy that opens many connections.
//
// Nothing here may be called on a descriptor that can block.
package nowait

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Recv reads up to len(b) bytes; 0 without an error is the end. flags as recv(2)'s.
func Recv(fd int, b []byte, flags int) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(flags), 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// Drop takes up to n bytes that were peeked at out of a TCP socket (MSG_TRUNC, tcp(7)).
func Drop(fd, n int) (int, unix.Errno) {
	for {
		r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n), unix.MSG_TRUNC, 0, 0)
		if errno != unix.EINTR {
			return int(r), errno
		}
	}
}

// Send writes b or a part of it. It reports a broken connection as an error, not also
// as a signal.
func Send(fd int, b []byte) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// Splice moves up to n bytes between a socket and a pipe.
func Splice(from, to, n int) (int, unix.Errno) {
	for {
		r, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if errno != unix.EINTR {
			return int(r), errno
		}
	}
}

// Shutdown ends what is sent on a socket.
func Shutdown(fd int) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	return errno
}

// Close closes a socket that does not linger, or a pipe.
func Close(fd int) { unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// Reset closes a socket so that its peer sees a reset, not an end.
func Reset(fd int) {
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	Close(fd)
}

// Listener sees to it that nothing that is received from a listening socket, or one for
// datagrams, can wait. Where other processes have the socket too (SCM_RIGHTS) O_NONBLOCK
// is theirs as well, and one that takes it off, as Go's (*os.File).Fd does, would have us
// wait for ever for a connection that another process was faster to accept. So the socket
// has a time limit beside it, which nobody takes off by accident and which the kernel heeds
// for UDP and plain TCP. What is accepted inherits it, and not O_NONBLOCK; Accept sets that.
func Listener(fd int) error {
	limit := unix.NsecToTimeval(int64(time.Millisecond))
	return errors.Join(
		os.NewSyscallError("fcntl", unix.SetNonblock(fd, true)),
		os.NewSyscallError("setsockopt SO_RCVTIMEO", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)))
}

// Established says that neither side of a TCP connection has ended it, as far as the
// kernel knows: that also sees an end behind bytes that nobody has read yet.
func Established(fd int) bool {
	const established = 1 // net/tcp_states.h
	var state [1]byte     // tcpi_state is what struct tcp_info begins with
	size := uint32(len(state))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&state)), uintptr(unsafe.Pointer(&size)), 0)
	return errno == 0 && state[0] == established
}

// Events takes the events that an epoll instance has.
func Events(epoll int, events []unix.EpollEvent) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}
