package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/nowait"
)

// dialPlain is Config.Dial for sockets of this process, with a mark.
// Keep-alive probes are off, as Envoy's are: the idle timeouts end what is dead.
func dialPlain(mark Mark) func(context.Context, netip.AddrPort) (*net.TCPConn, error) {
	d := mark.Dialer()
	d.KeepAlive = -1
	return func(ctx context.Context, dst netip.AddrPort) (*net.TCPConn, error) {
		conn, err := d.DialTCP(ctx, "tcp", netip.AddrPort{}, dst) // the zero address binds
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			op.Source = nil // ":0" tells a reader of the log nothing
		}
		return conn, err
	}
}

// waiter is told before something is waited for.
type waiter interface{ mayWait() }

// dialRaw is dialPlain for a socket that goes to the relay engine: Go's netpoller
// never sees it, unless the connection takes its time. It also returns the socket's
// own address, which own knows before the other end can answer.
func dialRaw(ctx context.Context, dst netip.AddrPort, mark Mark, w waiter, own *ownConns) (int, netip.AddrPort, error) {
	fd, local, err := beginDial(dst, mark, own)
	if err == nil {
		err = finishDial(ctx, fd, dst, w)
	}
	if err == nil && local == dst { // two ends that chose the same port met (RFC 9293 §3.5)
		err = os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	if err != nil {
		own.remove(ends{local, dst})
		if fd >= 0 {
			nowait.Close(fd)
		}
		return -1, netip.AddrPort{}, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(dst), Err: err}
	}
	return fd, local, nil
}

// beginDial makes a socket that is connecting. On error the socket, unless -1, is
// the caller's to close.
func beginDial(dst netip.AddrPort, mark Mark, own *ownConns) (int, netip.AddrPort, error) {
	family := unix.AF_INET
	if !dst.Addr().Is4() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, netip.AddrPort{}, os.NewSyscallError("socket", err)
	}
	if err := mark.set(fd); err != nil {
		return fd, netip.AddrPort{}, err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fd, netip.AddrPort{}, os.NewSyscallError("setsockopt", err)
	}
	local, err := own.connect(fd, dst)
	return fd, local, err
}

// finishDial waits until a connection stands or has failed. To an endpoint nearby it
// stands already.
func finishDial(ctx context.Context, fd int, to netip.AddrPort, w waiter) error {
	done, err := connected(fd, to)
	if done {
		return err
	}
	w.mayWait()
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(own), "tcp") // for the netpoller; fd stays as it is
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { f.SetWriteDeadline(longAgo) })()
	var failure error
	if err := raw.Write(func(uintptr) bool {
		done, failure = connected(fd, to)
		return done
	}); err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		return err // the time is over
	}
	return failure
}

// connected asks the kernel by a second connect, which waits for nothing either.
func connected(fd int, to netip.AddrPort) (done bool, err error) {
	switch errno := nowait.Connect(fd, to); errno {
	case 0, unix.EISCONN:
		return true, nil
	case unix.EALREADY, unix.EINPROGRESS, unix.EINTR:
		return false, nil
	default:
		return true, os.NewSyscallError("connect", errno)
	}
}

// unmapped is an address whose IPv4 is never in its IPv6 form.
func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
