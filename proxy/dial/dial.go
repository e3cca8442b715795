// Package dial connects sockets that somebody else makes, as in another network
// namespace: there only socket(2) has to be called, all that follows is the socket's own.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/nowait"
)

// Sockets is socket(2) without a protocol. typ has SOCK_NONBLOCK and SOCK_CLOEXEC, which
// the socket must have. It is called on event loops, and so must not wait.
type Sockets func(domain, typ int) (fd int, err error)

// Here makes sockets of this process's namespace.
func Here(domain, typ int) (int, error) {
	fd, err := unix.Socket(domain, typ, 0)
	return fd, os.NewSyscallError("socket", err)
}

// Open makes a socket of a type (unix.SOCK_STREAM, …) for connections to an address. nil
// is Here.
func (s Sockets) Open(to netip.Addr, typ int) (int, error) {
	family := unix.AF_INET
	if !to.Is4() {
		family = unix.AF_INET6
	}
	if s == nil {
		s = Here
	}
	return s(family, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
}

// Routes says whether there is a route to an address where the sockets are. Connecting a
// UDP socket looks for it, and for a source address, and sends nothing.
func (s Sockets) Routes(to netip.Addr) bool {
	const discard = 9 // RFC 863
	fd, err := s.Open(to, unix.SOCK_DGRAM)
	if err != nil {
		return false
	}
	defer nowait.Close(fd)
	return nowait.Connect(fd, netip.AddrPortFrom(to, discard)) == 0
}

// Conn connects to an address over "tcp" or "udp".
func (s Sockets) Conn(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	typ := unix.SOCK_DGRAM
	if network == "tcp" {
		typ = unix.SOCK_STREAM
	}
	c, err := s.conn(ctx, typ, network, to)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	return c, nil
}

func (s Sockets) conn(ctx context.Context, typ int, network string, to netip.AddrPort) (net.Conn, error) {
	fd, err := s.Open(to.Addr(), typ)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), network)
	defer f.Close()
	if to, err = numbered(fd, to); err != nil {
		return nil, err
	}
	done, err := Connected(fd, to)
	if !done {
		err = wait(ctx, f, to)
	}
	if err != nil {
		return nil, err
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("give a socket to Go: %w", err)
	}
	return c, nil
}

// numbered is an address whose zone, where it has one, is a number: that of the interface
// in the socket's namespace.
func numbered(fd int, to netip.AddrPort) (netip.AddrPort, error) {
	zone := to.Addr().Zone()
	if _, err := strconv.ParseUint(zone, 10, 32); zone == "" || err == nil {
		return to, nil
	}
	link, err := unix.NewIfreq(zone)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, link)
	}
	if err != nil {
		return to, fmt.Errorf("find the interface %q: %w", zone, err)
	}
	return netip.AddrPortFrom(to.Addr().WithZone(strconv.FormatUint(uint64(link.Uint32()), 10)), to.Port()), nil
}

// Connected begins a connection, or asks how far it is: a connect that is repeated waits
// for nothing either.
func Connected(fd int, to netip.AddrPort) (done bool, err error) {
	switch errno := nowait.Connect(fd, to); errno {
	case 0, unix.EISCONN:
		return true, nil
	case unix.EALREADY, unix.EINPROGRESS, unix.EINTR:
		return false, nil
	default:
		return true, os.NewSyscallError("connect", errno)
	}
}

// Wait waits until a connection that was begun stands or has failed; fd stays unknown to
// Go's netpoller.
func Wait(ctx context.Context, fd int, to netip.AddrPort) error {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(own), "tcp")
	defer f.Close()
	return wait(ctx, f, to)
}

// wait waits by way of the netpoller.
func wait(ctx context.Context, f *os.File, to netip.AddrPort) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { f.SetWriteDeadline(longAgo) })()
	var failure error
	if err := raw.Write(func(fd uintptr) (done bool) {
		done, failure = Connected(int(fd), to)
		return done
	}); err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		return err // the time is over
	}
	return failure
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)
