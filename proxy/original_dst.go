package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errNotRedirected is a connection that was made to the proxy's own port.
// Serving it would let the proxy call itself for ever.
var errNotRedirected = errors.New("the connection was made to the proxy's own port, not redirected to it")

// originalDst returns where a connection was going before netfilter redirected
// it (SO_ORIGINAL_DST; conntrack answers it, for either family).
func originalDst(c *net.TCPConn) (netip.AddrPort, error) {
	local := addrPort(c.LocalAddr())
	raw, err := c.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var dst netip.AddrPort
	var sockErr error
	if err := raw.Control(func(fd uintptr) {
		if local.Addr().Is4() {
			dst, sockErr = originalDst4(int(fd))
		} else {
			dst, sockErr = originalDst6(int(fd))
		}
	}); err != nil {
		return netip.AddrPort{}, err
	}
	switch {
	case errors.Is(sockErr, unix.ENOENT), sockErr == nil && dst == local:
		return netip.AddrPort{}, errNotRedirected
	case sockErr != nil:
		return netip.AddrPort{}, fmt.Errorf("ask for the original destination: %w", sockErr)
	}
	return dst, nil
}

// sockaddr sizes: a struct sockaddr_in, a struct sockaddr_in6.
const (
	sizeofSockaddr4 = 16
	sizeofSockaddr6 = 28
)

func originalDst4(fd int) (netip.AddrPort, error) {
	var b [sizeofSockaddr4]byte
	if err := getsockopt(fd, unix.SOL_IP, unix.SO_ORIGINAL_DST, b[:]); err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
}

func originalDst6(fd int) (netip.AddrPort, error) {
	var b [sizeofSockaddr6]byte
	const ip6tSoOriginalDst = 80 // linux/netfilter_ipv6/ip6_tables.h
	if err := getsockopt(fd, unix.SOL_IPV6, ip6tSoOriginalDst, b[:]); err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), binary.BigEndian.Uint16(b[2:4])), nil
}

// getsockopt reads an option that x/sys has no typed function for.
func getsockopt(fd, level, name int, b []byte) error {
	size := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
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
