package escape

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// rawAttempts write the transport header, or all of the packet, by themselves.
func (p Place) rawAttempts(both overBoth) {
	for name, flags := range map[string]byte{"SYN": SYN, "ACK": ACK, "FIN": FIN, "SYN and FIN": SYN | FIN, "RST": RST, "no flags": 0} {
		both("a raw socket with TCP of its own, "+name, func(to netip.Addr) { p.RawPacket(to, unix.IPPROTO_TCP, TCP(flags)) })
	}
	for name, protocol := range map[string]byte{"SCTP (132)": 132, "UDP-Lite": 136, "GRE": 47, "IP in IP": 4} {
		both("a raw socket with "+name, func(to netip.Addr) {
			WithSocket(to, unix.SOCK_RAW, int(protocol), nil, func(fd int) { unix.Sendto(fd, make([]byte, 32), 0, Sockaddr(to, 0)) })
		})
	}
	both("an answer to a datagram of its own", func(to netip.Addr) {
		p.rawFrom(to, p.from(to), unix.IPPROTO_UDP, UDPFrom(443, 40001))
		p.answer(to, unix.SOCK_DGRAM, 40001, 443)
	})
	both("an answer to a connection of its own", func(to netip.Addr) {
		p.rawFrom(to, p.from(to), unix.IPPROTO_TCP, TCPFrom(80, 40002, SYN)) // its checksum is wrong, so nobody resets it
		p.answer(to, unix.SOCK_STREAM, 40002, 80)
	})
	both("an answer to what it sent to an excluded port", func(to netip.Addr) {
		other := p.Nobody4
		if to.Is6() {
			other = p.Nobody6
		}
		p.rawFrom(to, other, unix.IPPROTO_UDP, UDPFrom(443, p.Excluded))
		p.rawFrom(other, to, unix.IPPROTO_UDP, UDPFrom(p.Excluded, 443))
	})
	both("a raw socket with UDP of its own", func(to netip.Addr) { p.RawPacket(to, unix.IPPROTO_UDP, UDP(443)) })
}
