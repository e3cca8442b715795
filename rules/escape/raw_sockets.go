package escape

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// from is the pod's address of the family of to.
func (p Place) from(to netip.Addr) netip.Addr {
	if to.Is4() {
		return p.From4
	}
	return p.From6
}

// answer sends from a port of the pod, as an ordinary socket.
func (p Place) answer(to netip.Addr, kind int, from, port uint16) {
	WithSocket(to, kind, 0, []Option{{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}}, func(fd int) {
		unix.Bind(fd, Sockaddr(p.from(to), from))
		unix.Connect(fd, Sockaddr(to, port))
		unix.Write(fd, []byte("?"))
	})
}

// RawPacket sends a whole IP packet through a raw socket.
func (p Place) RawPacket(to netip.Addr, protocol byte, payload []byte) {
	p.rawFrom(p.from(to), to, protocol, payload)
}

// rawFrom is RawPacket with any source.
func (p Place) rawFrom(from, to netip.Addr, protocol byte, payload []byte) {
	packet, options := IP6(protocol, from, to, payload), []Option{{unix.SOL_IPV6, unix.IPV6_HDRINCL, 1}}
	if to.Is4() {
		packet, options = IP4(protocol, from, to, payload), []Option{{unix.SOL_IP, unix.IP_HDRINCL, 1}}
	}
	WithSocket(to, unix.SOCK_RAW, unix.IPPROTO_RAW, options, func(fd int) { unix.Sendto(fd, packet, 0, Sockaddr(to, 0)) })
}

func (p Place) rawFragments() {
	const noDefrag = 22 // IP_NODEFRAG
	options := []Option{{unix.SOL_IP, unix.IP_HDRINCL, 1}, {unix.SOL_IP, noDefrag, 1}}
	WithSocket(p.To4, unix.SOCK_RAW, unix.IPPROTO_RAW, options, func(fd int) {
		for _, f := range fragments4(p.From4, p.To4) {
			unix.Sendto(fd, f, 0, Sockaddr(p.To4, 0))
		}
	})
}
