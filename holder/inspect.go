package holder

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/wire"
)

// inspect looks whether the files are what the holding says: each socket of its kind,
// at its port and in the namespace, and the namespace a pod's. It fills in what is the
// holder's to say. What comes over the socket comes from root, by mistake at worst; but
// a mistake that is found here costs one ADD, and one found later a pod's connections.
func inspect(h *wire.Holding, fds []int) (err error) {
	if len(h.Sockets) == 0 || len(fds) != len(h.Sockets)+1 {
		return fmt.Errorf("files: %d for %d sockets and a namespace; send the sockets in order, then the namespace", len(fds), len(h.Sockets))
	}
	if h.Policy != wire.PolicyBlock && h.Policy != wire.PolicyBypass {
		return fmt.Errorf("policy %q: is not known; use %s or %s", h.Policy, wire.PolicyBlock, wire.PolicyBypass)
	}
	if h.Gate < 0 {
		return fmt.Errorf("gate %q: is negative", h.Gate)
	}
	netns := fds[len(fds)-1]
	if err := isPodsNamespace(netns, h.Netns); err != nil {
		return err
	}
	h.Everywhere = false
	for i, s := range h.Sockets {
		wide, err := isSocket(fds[i], s, h.Netns)
		if err != nil {
			return fmt.Errorf("sockets[%d]: %w", i, err)
		}
		h.Everywhere = h.Everywhere || wide
	}
	h.Cookie, err = wire.Cookie(fds[0])
	return err
}

func isPodsNamespace(fd int, want wire.Netns) error {
	if kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		return errors.New("files: the last is no network namespace")
	}
	got, err := identity(fd)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("netns %s: the file is %s", want, got)
	}
	for _, own := range []string{"/proc/thread-self/ns/net", "/proc/1/ns/net"} {
		if hosts, err := identityAt(own); err == nil && hosts == got {
			return fmt.Errorf("netns %s: is the host's own; it is never held", got)
		}
	}
	return nil
}

func identity(fd int) (wire.Netns, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return wire.Netns{}, fmt.Errorf("the namespace's identity: %w", err)
	}
	return wire.Netns{Device: uint64(stat.Dev), Inode: stat.Ino}, nil
}

func identityAt(path string) (wire.Netns, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return wire.Netns{}, err
	}
	return wire.Netns{Device: uint64(stat.Dev), Inode: stat.Ino}, nil
}

// isSocket also makes the socket one that does not block: all who share it need that.
func isSocket(fd int, s wire.Socket, in wire.Netns) (everywhere bool, err error) {
	domain, domainErr := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	typ, typErr := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	listens, listensErr := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err := errors.Join(domainErr, typErr, listensErr); err != nil {
		return false, fmt.Errorf("is no socket: %w", err)
	}
	want, known := networks[s.Network]
	stream := want.typ == unix.SOCK_STREAM
	switch {
	case !known:
		return false, fmt.Errorf("network %q: is not known; use tcp4, tcp6, udp4 or udp6", s.Network)
	case s.Role != wire.RoleTCP && s.Role != wire.RoleDNSPacket && s.Role != wire.RoleDNSStream:
		return false, fmt.Errorf("role %q: is not known; use %s, %s or %s", s.Role, wire.RoleTCP, wire.RoleDNSPacket, wire.RoleDNSStream)
	case stream == (s.Role == wire.RoleDNSPacket):
		return false, fmt.Errorf("role %q: does not go with %s", s.Role, s.Network)
	case domain != want.domain || typ != want.typ:
		return false, fmt.Errorf("is no %s socket", s.Network)
	case stream && listens == 0:
		return false, fmt.Errorf("%s: does not listen", s.Network)
	}
	port, everywhere, err := boundTo(fd)
	if err != nil {
		return false, err
	}
	if port != int(s.Port) {
		return false, fmt.Errorf("port %d: is bound to %d", s.Port, port)
	}
	if err := isIn(fd, in); err != nil {
		return false, err
	}
	return everywhere, unix.SetNonblock(fd, true)
}

type network struct{ domain, typ int }

var networks = map[string]network{
	"tcp4": {unix.AF_INET, unix.SOCK_STREAM}, "tcp6": {unix.AF_INET6, unix.SOCK_STREAM},
	"udp4": {unix.AF_INET, unix.SOCK_DGRAM}, "udp6": {unix.AF_INET6, unix.SOCK_DGRAM},
}

func boundTo(fd int) (port int, everywhere bool, err error) {
	at, err := unix.Getsockname(fd)
	if err != nil {
		return 0, false, err
	}
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		return at.Port, at.Addr == [4]byte{}, nil
	case *unix.SockaddrInet6:
		return at.Port, at.Addr == [16]byte{}, nil
	}
	return 0, false, errors.New("is a socket of another family")
}

// isIn asks the socket for its namespace (SIOCGSKNS, Linux 4.9).
func isIn(fd int, want wire.Netns) error {
	ns, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS)
	if err != nil {
		return fmt.Errorf("the socket's namespace: %w", err)
	}
	defer unix.Close(ns)
	got, err := identity(ns)
	if err == nil && got != want {
		err = fmt.Errorf("is in the namespace %s, not in the pod's (%s)", got, want)
	}
	return err
}
