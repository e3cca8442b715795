package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/proxy/nowait"
)

// errNotRedirected is a connection that was made to the proxy's own port.
// Serving it would let the proxy call itself for ever.
var errNotRedirected = errors.New("the connection was made to the proxy's own port, not redirected to it")

// originalDst returns where a connection was going before netfilter redirected
// it (SO_ORIGINAL_DST; conntrack answers it, for either family).
func originalDst(fd int, from netip.AddrPort) (netip.AddrPort, error) {
	dst, errno := nowait.OriginalDst(fd, !from.Addr().Is4())
	switch errno {
	case 0:
	case unix.ENOENT:
		return netip.AddrPort{}, errNotRedirected
	default:
		return netip.AddrPort{}, fmt.Errorf("ask for the original destination: %w", errno)
	}
	if local, errno := nowait.LocalAddr(fd); errno != 0 || dst == local {
		return netip.AddrPort{}, errNotRedirected
	}
	return dst, nil
}

// addrPort is the plain form of a TCP address: IPv4 is never in its IPv6 form.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
