package proxy

import (
	"context"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/dial"
	"github.com/sluice-cni/sluice/proxy/loop"
	"github.com/sluice-cni/sluice/proxy/nowait"
)

// dialer makes the connections to servers, without keep-alive probes, as Envoy does: the
// idle timeouts end what is dead. The proxy knows each for its own before the other end
// can answer.
type dialer struct {
	sockets dial.Sockets
	mark    Mark
	own     *ownConns
}

// waiter is told before something is waited for.
type waiter interface{ mayWait() }

// carrier is the waiter that a connection of opaque bytes is made for.
type carrier interface {
	waiter
	pass() uint8 // of the connection to be made
}

// pooled is who connections are made for that requests share: nobody's in particular.
type pooled struct{}

func (pooled) mayWait()    {}
func (pooled) pass() uint8 { return lastPass }

// polled makes a connection that Go polls.
func (d *dialer) polled(ctx context.Context, dst netip.AddrPort) (*net.TCPConn, error) {
	dst = unmapped(dst)
	fd, local, err := d.raw(ctx, dst, pooled{})
	if err != nil {
		return nil, err
	}
	tcp, err := loop.Attach(fd)
	if err != nil {
		d.own.remove(ends{local, dst})
		return nil, err
	}
	return tcp, nil
}

// raw makes a connection for an event loop: Go's netpoller never sees it, unless it takes
// its time to be made. It also returns the socket's own address. dst is unmapped.
func (d *dialer) raw(ctx context.Context, dst netip.AddrPort, w carrier) (int, netip.AddrPort, error) {
	fd, local, err := d.begin(dst, w.pass())
	if err == nil {
		err = finishDial(ctx, fd, dst, w)
	}
	if err == nil && local == dst { // two ends that chose the same port met (RFC 9293 §3.5)
		err = os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	if err != nil {
		d.own.remove(ends{local, dst})
		if fd >= 0 {
			nowait.Close(fd)
		}
		return -1, netip.AddrPort{}, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(dst), Err: err}
	}
	return fd, local, nil
}

// begin makes a socket that is connecting. On error the socket, unless -1, is the
// caller's to close.
func (d *dialer) begin(dst netip.AddrPort, pass uint8) (int, netip.AddrPort, error) {
	fd, err := d.sockets.Open(dst.Addr(), unix.SOCK_STREAM)
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	if err := d.mark.set(fd); err != nil {
		return fd, netip.AddrPort{}, err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fd, netip.AddrPort{}, os.NewSyscallError("setsockopt", err)
	}
	local, err := d.own.connect(fd, dst, pass)
	return fd, local, err
}

// finishDial waits until a connection stands or has failed. To an endpoint nearby it
// stands already.
func finishDial(ctx context.Context, fd int, to netip.AddrPort, w waiter) error {
	done, err := dial.Connected(fd, to)
	if done {
		return err
	}
	w.mayWait()
	return dial.Wait(ctx, fd, to)
}

// unmapped is an address whose IPv4 is never in its IPv6 form.
func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
