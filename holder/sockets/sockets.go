// Package sockets opens what a pod's traffic is redirected to: listeners for TCP, and
// sockets for DNS where that is captured, on loopback, in both families. It uses plain
// system calls: the CNI plugin, which is started several times for every pod, links it.
package sockets

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/wire"
)

// Wanted says which sockets.
type Wanted struct {
	TCP uint16 // the proxy's port; 0 is any free one
	DNS bool   // whether DNS is captured
	// DNSPort is its port, for packets and streams alike; 0 is any free one.
	DNSPort uint16
	// Everywhere listens for TCP on every address: what is rerouted from a virtual
	// machine is redirected to the address of the interface it came by.
	Everywhere bool
}

// Backlog is how many connections wait while no agent accepts. The kernel bounds it by
// the namespace's net.core.somaxconn, which is 4096 by default (since Linux 5.4).
const Backlog = 4096

// Open opens the sockets in the namespace of the calling thread, whose lo must be up:
// before that its addresses cannot be bound. A family that the namespace lacks is left
// out. The files do not block and are the caller's; a port that somebody has is
// unix.EADDRINUSE. All sockets of a role have the same port.
func Open(w Wanted) (described []wire.Socket, files []*os.File, err error) {
	defer func() {
		if err != nil {
			Close(files)
			described, files = nil, nil
		}
	}()
	add := func(role string, typ int, v6 bool, port *uint16, everywhere bool) error {
		f, bound, err := open(typ, v6, *port, everywhere)
		network := map[int]string{unix.SOCK_STREAM: "tcp", unix.SOCK_DGRAM: "udp"}[typ] + map[bool]string{false: "4", true: "6"}[v6]
		if lacks(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s port %d: %w", network, *port, err)
		}
		*port = bound
		described, files = append(described, wire.Socket{Role: role, Network: network, Port: bound}), append(files, f)
		return nil
	}
	for _, v6 := range []bool{false, true} {
		if err := add(wire.RoleTCP, unix.SOCK_STREAM, v6, &w.TCP, w.Everywhere); err != nil {
			return described, files, err
		}
		if !w.DNS {
			continue
		}
		if err := add(wire.RoleDNSStream, unix.SOCK_STREAM, v6, &w.DNSPort, false); err != nil {
			return described, files, err
		}
		if err := add(wire.RoleDNSPacket, unix.SOCK_DGRAM, v6, &w.DNSPort, false); err != nil {
			return described, files, err
		}
	}
	if len(files) == 0 {
		return nil, nil, errors.New("the namespace has neither 127.0.0.1 nor ::1")
	}
	return described, files, nil
}

// Close closes files that Open gave.
func Close(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// lacks reports a family that the kernel or the namespace does not have: no IPv6 at
// all, or net.ipv6.conf.lo.disable_ipv6.
func lacks(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)
}

func open(typ int, v6 bool, port uint16, everywhere bool) (*os.File, uint16, error) {
	domain := unix.AF_INET
	if v6 {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, 0, os.NewSyscallError("socket", err)
	}
	bound, err := prepare(fd, typ, v6, port, everywhere)
	if err != nil {
		unix.Close(fd)
		return nil, 0, err
	}
	return os.NewFile(uintptr(fd), "listener"), bound, nil
}

func prepare(fd, typ int, v6 bool, port uint16, everywhere bool) (bound uint16, err error) {
	if v6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return 0, os.NewSyscallError("setsockopt", err)
		}
	}
	if typ == unix.SOCK_STREAM { // for packets it would let others bind beside
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return 0, os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.Bind(fd, address(v6, port, everywhere)); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	if typ == unix.SOCK_STREAM {
		if err := unix.Listen(fd, Backlog); err != nil {
			return 0, os.NewSyscallError("listen", err)
		}
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	switch at := name.(type) {
	case *unix.SockaddrInet4:
		return uint16(at.Port), nil
	case *unix.SockaddrInet6:
		return uint16(at.Port), nil
	}
	return 0, errors.New("a socket of another family")
}

func address(v6 bool, port uint16, everywhere bool) unix.Sockaddr {
	if !v6 {
		at := &unix.SockaddrInet4{Port: int(port)}
		if !everywhere {
			at.Addr = [4]byte{127, 0, 0, 1}
		}
		return at
	}
	at := &unix.SockaddrInet6{Port: int(port)}
	if !everywhere {
		at.Addr[15] = 1
	}
	return at
}
