package escape

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// socketAttempts use ordinary sockets.
func (p Place) socketAttempts(both overBoth) {
	both("TCP", func(to netip.Addr) { Connect(to, 80) })
	both("TCP as uid and gid 1337", func(to netip.Addr) { becomeUser(1337); Connect(to, 80) })
	both("TCP as another user", func(to netip.Addr) { becomeUser(65534); Connect(to, 443) })
	both("the proxy's own port", func(to netip.Addr) { Connect(to, 15001); Connect(to, 15053); Datagram(to, 15001) })
	both("from the proxy's own port", func(to netip.Addr) {
		for _, port := range []uint16{15001, 15053, 53, 67} {
			connectFrom(port, to, 80)
			datagramFrom(port, to, 443)
		}
	})
	both("a sweep of marks", func(to netip.Addr) {
		for mark := range 3000 {
			Connect(to, 80, Mark(mark))
			Datagram(to, 443, Mark(mark))
		}
		for bit := range 32 {
			Connect(to, 80, Mark(int(int32(uint32(1)<<bit))))
		}
	})
	both("SO_BINDTODEVICE", func(to netip.Addr) { connectBoundTo(p.Interface, to, 80) })
	both("SO_BINDTODEVICE, DNS", func(to netip.Addr) { datagramBoundTo(p.Interface, to, 53); connectBoundTo(p.Interface, to, 53) })
	both("an interface for unicast", func(to netip.Addr) {
		index := []Option{{unix.SOL_IP, unix.IP_UNICAST_IF, int(networkOrder32(uint32(p.Link)))}}
		if to.Is6() {
			index = []Option{{unix.SOL_IPV6, unix.IPV6_UNICAST_IF, int(networkOrder32(uint32(p.Link)))}}
		}
		for _, port := range []uint16{80, 53} {
			Connect(to, port, index...)
			Datagram(to, port, index...)
		}
	})
	both("an interface for one datagram", func(to netip.Addr) {
		control := unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(p.Link)})
		if to.Is6() {
			control = unix.PktInfo6(&unix.Inet6Pktinfo{Ifindex: uint32(p.Link)})
		}
		for _, port := range []uint16{443, 53} {
			WithSocket(to, unix.SOCK_DGRAM, 0, nil, func(fd int) { unix.Sendmsg(fd, []byte("?"), control, Sockaddr(to, port), 0) })
		}
	})
	both("past the routing table", func(to netip.Addr) {
		direct := Option{unix.SOL_SOCKET, unix.SO_DONTROUTE, 1}
		Connect(to, 80, direct)
		Datagram(to, 53, direct)
	})
	both("TCP fast open", func(to netip.Addr) {
		WithSocket(to, unix.SOCK_STREAM, 0, nil, func(fd int) { unix.Sendto(fd, []byte("early"), unix.MSG_FASTOPEN, Sockaddr(to, 80)) })
	})
	both("multipath TCP", func(to netip.Addr) {
		WithSocket(to, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, nil, func(fd int) { unix.Connect(fd, Sockaddr(to, 80)) })
	})
	both("UDP to 443", func(to netip.Addr) { Datagram(to, 443) })
	both("UDP to 53", func(to netip.Addr) { Datagram(to, 53) })
	both("a large UDP datagram", func(to netip.Addr) { SendDatagram(to, 443, make([]byte, 9000)) })
	both("a foreign source address", func(to netip.Addr) {
		level, name := unix.SOL_IP, unix.IP_TRANSPARENT
		from := p.Nobody4
		if to.Is6() {
			level, name, from = unix.SOL_IPV6, unix.IPV6_TRANSPARENT, p.Nobody6
		}
		WithSocket(to, unix.SOCK_STREAM, 0, []Option{{level, name, 1}}, func(fd int) {
			unix.Bind(fd, Sockaddr(from, 0))
			unix.Connect(fd, Sockaddr(to, 80))
		})
	})
	both("ping", func(to netip.Addr) {
		kind, protocol := byte(8), unix.IPPROTO_ICMP
		if to.Is6() {
			kind, protocol = 128, unix.IPPROTO_ICMPV6
		}
		WithSocket(to, unix.SOCK_RAW, protocol, nil, func(fd int) {
			unix.Sendto(fd, []byte{kind, 0, 0, 0, 0, 1, 0, 1}, 0, Sockaddr(to, 0))
		})
	})
}
