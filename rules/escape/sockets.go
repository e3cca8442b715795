package escape

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Option is a socket option with a number.
type Option struct{ Level, Name, Value int }

// Mark is the option that gives a socket's packets a mark.
func Mark(mark int) Option { return Option{unix.SOL_SOCKET, unix.SO_MARK, mark} }

// WithSocket gives f a socket that never blocks and leaves nothing behind.
func WithSocket(to netip.Addr, kind, protocol int, options []Option, f func(fd int)) {
	family := unix.AF_INET
	if to.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if kind == unix.SOCK_STREAM {
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	for _, o := range options {
		unix.SetsockoptInt(fd, o.Level, o.Name, o.Value)
	}
	f(fd)
}

// Connect begins a connection and ends it.
func Connect(to netip.Addr, port uint16, options ...Option) {
	WithSocket(to, unix.SOCK_STREAM, 0, options, func(fd int) { unix.Connect(fd, Sockaddr(to, port)) })
}

func connectBoundTo(device string, to netip.Addr, port uint16) {
	WithSocket(to, unix.SOCK_STREAM, 0, nil, func(fd int) {
		unix.BindToDevice(fd, device)
		unix.Connect(fd, Sockaddr(to, port))
	})
}

func datagramBoundTo(device string, to netip.Addr, port uint16) {
	WithSocket(to, unix.SOCK_DGRAM, 0, nil, func(fd int) {
		unix.BindToDevice(fd, device)
		unix.Sendto(fd, []byte("?"), 0, Sockaddr(to, port))
	})
}

func connectFrom(port uint16, to netip.Addr, toPort uint16) {
	reuse := []Option{{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, {unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}}
	WithSocket(to, unix.SOCK_STREAM, 0, reuse, func(fd int) {
		unix.Bind(fd, Sockaddr(unspecified(to), port))
		unix.Connect(fd, Sockaddr(to, toPort))
	})
}

func datagramFrom(port uint16, to netip.Addr, toPort uint16) {
	reuse := []Option{{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, {unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}}
	WithSocket(to, unix.SOCK_DGRAM, 0, reuse, func(fd int) {
		unix.Bind(fd, Sockaddr(unspecified(to), port))
		unix.Sendto(fd, []byte("?"), 0, Sockaddr(to, toPort))
	})
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

func connectMapped(to netip.Addr, port uint16) {
	mapped := netip.AddrFrom16(to.As16())
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == nil {
		unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 0)
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // nothing is sent again later
		unix.Connect(fd, &unix.SockaddrInet6{Port: int(port), Addr: mapped.As16()})
		unix.Close(fd)
	}
}

// Datagram sends a datagram.
func Datagram(to netip.Addr, port uint16, options ...Option) {
	WithSocket(to, unix.SOCK_DGRAM, 0, options, func(fd int) { unix.Sendto(fd, []byte("?"), 0, Sockaddr(to, port)) })
}

// SendDatagram sends a datagram with contents, and says whether it could.
func SendDatagram(to netip.Addr, port uint16, data []byte) (err error) {
	WithSocket(to, unix.SOCK_DGRAM, 0, nil, func(fd int) { err = unix.Sendto(fd, data, 0, Sockaddr(to, port)) })
	return err
}

// Sockaddr is an address as system calls take it.
func Sockaddr(addr netip.Addr, port uint16) unix.Sockaddr {
	if addr.Is6() {
		return &unix.SockaddrInet6{Port: int(port), Addr: addr.As16()}
	}
	return &unix.SockaddrInet4{Port: int(port), Addr: addr.As4()}
}
