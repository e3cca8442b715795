package nowait

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr is a struct sockaddr_in or sockaddr_in6: family (in the machine's order),
// port, and either the address, or flow, address and scope.
type sockaddr [28]byte

const sockaddr4 = 16 // bytes of an IPv4 one

// put writes a down and returns how long that is. Of zones those are kept that are numbers.
func (s *sockaddr) put(a netip.AddrPort) uintptr {
	binary.BigEndian.PutUint16(s[2:], a.Port())
	if ip := a.Addr(); ip.Is4() {
		binary.NativeEndian.PutUint16(s[:], unix.AF_INET)
		*(*[4]byte)(s[4:]) = ip.As4()
		return sockaddr4
	}
	binary.NativeEndian.PutUint16(s[:], unix.AF_INET6)
	*(*[16]byte)(s[8:]) = a.Addr().As16()
	if zone := a.Addr().Zone(); zone != "" {
		scope, _ := strconv.ParseUint(zone, 10, 32)
		binary.NativeEndian.PutUint32(s[24:], uint32(scope))
	}
	return uintptr(len(s))
}

// get reads an address; IPv4 is never in its IPv6 form. The zero AddrPort is neither.
func (s *sockaddr) get() netip.AddrPort {
	port := binary.BigEndian.Uint16(s[2:])
	switch binary.NativeEndian.Uint16(s[:]) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(s[4:])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(s[8:])).Unmap(), port)
	}
	return netip.AddrPort{}
}

// Connect begins a connection: EINPROGRESS, unless it stands or has failed already.
// The family of the socket is that of dst, in which IPv4 is not in its IPv6 form.
func Connect(fd int, dst netip.AddrPort) unix.Errno {
	var s sockaddr
	size := s.put(dst)
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&s)), size)
	return errno
}

// Accept takes a connection that waits at a listener: a non-blocking socket, and who
// made it.
func Accept(listener int) (fd int, from netip.AddrPort, errno unix.Errno) {
	for {
		var s sockaddr
		size := uint32(len(s))
		n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&s)),
			uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case unix.EINTR: // possible while somebody else has the socket block (Listener)
		case 0:
			return int(n), s.get(), 0
		default:
			return -1, from, errno
		}
	}
}

// LocalAddr is a socket's own address.
func LocalAddr(fd int) (netip.AddrPort, unix.Errno) {
	var s sockaddr
	size := uint32(len(s))
	_, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&s)), uintptr(unsafe.Pointer(&size)))
	return s.get(), errno
}

// OriginalDst asks conntrack where a redirected connection was going
// (SO_ORIGINAL_DST); ENOENT: it was not redirected. v6 is the family the application
// used.
func OriginalDst(fd int, v6 bool) (netip.AddrPort, unix.Errno) {
	const ip6tSoOriginalDst = 80 // linux/netfilter_ipv6/ip6_tables.h
	var s sockaddr
	size := uint32(len(s))
	level, name := unix.SOL_IP, unix.SO_ORIGINAL_DST
	if v6 {
		level, name = unix.SOL_IPV6, ip6tSoOriginalDst
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&s)), uintptr(unsafe.Pointer(&size)), 0)
	return s.get(), errno
}
