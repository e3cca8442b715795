package nft_test

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	finFlag = 0x01
	synFlag = 0x02
	rstFlag = 0x04
	ackFlag = 0x10
)

// Neighbours that are not there.
var nobody4, nobody6 = netip.MustParseAddr("10.50.0.77"), netip.MustParseAddr("fd50::77")

type overBoth func(name string, send func(to netip.Addr))

// socketAttempts use ordinary sockets.
func socketAttempts(both overBoth) {
	both("TCP", func(to netip.Addr) { connect(to, 80) })
	both("TCP as uid and gid 1337", func(to netip.Addr) { becomeUser(1337); connect(to, 80) })
	both("TCP as another user", func(to netip.Addr) { becomeUser(65534); connect(to, 443) })
	both("the proxy's own port", func(to netip.Addr) { connect(to, 15001); connect(to, 15053); datagram(to, 15001) })
	both("from the proxy's own port", func(to netip.Addr) {
		for _, port := range []uint16{15001, 15053, 53, 67} {
			connectFrom(port, to, 80)
			datagramFrom(port, to, 443)
		}
	})
	both("a sweep of marks", func(to netip.Addr) {
		for mark := range 3000 {
			connect(to, 80, option{unix.SOL_SOCKET, unix.SO_MARK, mark})
			datagram(to, 443, option{unix.SOL_SOCKET, unix.SO_MARK, mark})
		}
		for bit := range 32 {
			connect(to, 80, option{unix.SOL_SOCKET, unix.SO_MARK, int(int32(uint32(1) << bit))})
		}
	})
	both("SO_BINDTODEVICE", func(to netip.Addr) { connectBoundTo("eth0", to, 80) })
	both("TCP fast open", func(to netip.Addr) {
		withSocket(to, unix.SOCK_STREAM, 0, nil, func(fd int) { unix.Sendto(fd, []byte("early"), unix.MSG_FASTOPEN, sockaddr(to, 80)) })
	})
	both("multipath TCP", func(to netip.Addr) {
		withSocket(to, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, nil, func(fd int) { unix.Connect(fd, sockaddr(to, 80)) })
	})
	both("UDP to 443", func(to netip.Addr) { datagram(to, 443) })
	both("UDP to 53", func(to netip.Addr) { datagram(to, 53) })
	both("a large UDP datagram", func(to netip.Addr) { datagramWith(to, 443, make([]byte, 9000)) })
	both("a foreign source address", func(to netip.Addr) {
		level, name := unix.SOL_IP, unix.IP_TRANSPARENT
		from := netip.MustParseAddr("10.50.0.200")
		if to.Is6() {
			level, name, from = unix.SOL_IPV6, unix.IPV6_TRANSPARENT, netip.MustParseAddr("fd50::200")
		}
		withSocket(to, unix.SOCK_STREAM, 0, []option{{level, name, 1}}, func(fd int) {
			unix.Bind(fd, sockaddr(from, 0))
			unix.Connect(fd, sockaddr(to, 80))
		})
	})
	both("ping", func(to netip.Addr) {
		kind, protocol := byte(8), unix.IPPROTO_ICMP
		if to.Is6() {
			kind, protocol = 128, unix.IPPROTO_ICMPV6
		}
		withSocket(to, unix.SOCK_RAW, protocol, nil, func(fd int) {
			unix.Sendto(fd, []byte{kind, 0, 0, 0, 0, 1, 0, 1}, 0, sockaddr(to, 0))
		})
	})
}

// rawAttempts write the transport header, or all of the packet, by themselves.
func rawAttempts(w *wire, both overBoth) {
	for name, flags := range map[string]byte{"SYN": synFlag, "ACK": ackFlag, "FIN": finFlag, "SYN and FIN": synFlag | finFlag, "RST": rstFlag, "no flags": 0} {
		both("a raw socket with TCP of its own, "+name, func(to netip.Addr) { w.rawPacket(to, unix.IPPROTO_TCP, tcp(flags)) })
	}
	for name, protocol := range map[string]byte{"SCTP (132)": 132, "UDP-Lite": 136, "GRE": 47, "IP in IP": 4} {
		both("a raw socket with "+name, func(to netip.Addr) {
			withSocket(to, unix.SOCK_RAW, int(protocol), nil, func(fd int) { unix.Sendto(fd, make([]byte, 32), 0, sockaddr(to, 0)) })
		})
	}
	both("an answer to a datagram of its own", func(to netip.Addr) {
		w.rawFrom(to, w.from(to), unix.IPPROTO_UDP, udpFrom(443, 40001))
		w.answer(to, unix.SOCK_DGRAM, 40001, 443)
	})
	both("an answer to a connection of its own", func(to netip.Addr) {
		w.rawFrom(to, w.from(to), unix.IPPROTO_TCP, tcpFrom(80, 40002, synFlag)) // its checksum is wrong, so nobody resets it
		w.answer(to, unix.SOCK_STREAM, 40002, 80)
	})
	both("an answer to what it sent to an excluded port", func(to netip.Addr) {
		other := nobody4
		if to.Is6() {
			other = nobody6
		}
		w.rawFrom(to, other, unix.IPPROTO_UDP, udpFrom(443, 9999))
		w.rawFrom(other, to, unix.IPPROTO_UDP, udpFrom(9999, 443))
	})
	both("a raw socket with UDP of its own", func(to netip.Addr) { w.rawPacket(to, unix.IPPROTO_UDP, udp(443)) })
}

// packetAttempts write frames, beneath everything that belongs to IP.
func packetAttempts(w *wire, both overBoth) {
	for name, o := range map[string]frameOptions{
		"a packet socket":                                  {},
		"a packet socket past the queue":                   {bypassQueue: true},
		"a packet socket that says it is ARP":              {claims: unix.ETH_P_ARP},
		"a packet socket that says it is anything":         {claims: 0x88b5},
		"a packet socket that claims the other IP":         {claimsOtherIP: true},
		"a packet socket with a priority tag":              {tagged: true},
		"a packet socket without a frame header":           {cooked: true},
		"a packet socket past the queue that lies as well": {bypassQueue: true, claims: unix.ETH_P_ARP},
	} {
		both(name, func(to netip.Addr) { w.frame(to, o, unix.IPPROTO_TCP, tcp(synFlag)) })
	}
	both("a packet socket with TCP in mid-stream", func(to netip.Addr) { w.frame(to, frameOptions{}, unix.IPPROTO_TCP, tcp(ackFlag)) })
	both("a packet socket with UDP", func(to netip.Addr) { w.frame(to, frameOptions{}, unix.IPPROTO_UDP, udp(443)) })
	both("a packet socket with DNS", func(to netip.Addr) { w.frame(to, frameOptions{}, unix.IPPROTO_UDP, udp(53)) })
	both("a packet socket with SCTP", func(to netip.Addr) { w.frame(to, frameOptions{}, 132, make([]byte, 32)) })
	both("a packet socket with fragments", func(to netip.Addr) {
		if to.Is4() {
			for _, f := range fragments4(w.from4, to) {
				sendFrame(w.eth0, frameOptions{}, ether(w.mac, w.podMAC, unix.ETH_P_IP, f))
			}
			return
		}
		header := append([]byte{unix.IPPROTO_TCP, 0, 0, 1, 0, 0, 0, 7}, tcp(synFlag)...) // more to come, offset 0
		w.frame(to, frameOptions{}, unix.IPPROTO_FRAGMENT, header)
		later := append([]byte{unix.IPPROTO_TCP, 0, 0, 24, 0, 0, 0, 7}, make([]byte, 24)...) // the last, offset 24
		w.frame(to, frameOptions{}, unix.IPPROTO_FRAGMENT, later)
	})
	both("a packet socket with TCP behind options", func(to netip.Addr) {
		if to.Is6() {
			w.frame(to, frameOptions{}, unix.IPPROTO_HOPOPTS, append([]byte{unix.IPPROTO_TCP, 0, 1, 4, 0, 0, 0, 0}, tcp(synFlag)...))
			return
		}
		packet := ip4(unix.IPPROTO_TCP, w.from4, to, append([]byte{1, 1, 1, 0}, tcp(synFlag)...))
		packet[0] = 0x46
		sendFrame(w.eth0, frameOptions{}, ether(w.mac, w.podMAC, unix.ETH_P_IP, checked(packet, 24)))
	})
}

type option struct{ level, name, value int }

// withSocket gives f a socket that never blocks and leaves nothing behind.
func withSocket(to netip.Addr, kind, protocol int, options []option, f func(fd int)) {
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
		unix.SetsockoptInt(fd, o.level, o.name, o.value)
	}
	f(fd)
}

func connect(to netip.Addr, port uint16, options ...option) {
	withSocket(to, unix.SOCK_STREAM, 0, options, func(fd int) { unix.Connect(fd, sockaddr(to, port)) })
}

func connectBoundTo(device string, to netip.Addr, port uint16) {
	withSocket(to, unix.SOCK_STREAM, 0, nil, func(fd int) {
		unix.BindToDevice(fd, device)
		unix.Connect(fd, sockaddr(to, port))
	})
}

func connectFrom(port uint16, to netip.Addr, toPort uint16) {
	reuse := []option{{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, {unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}}
	withSocket(to, unix.SOCK_STREAM, 0, reuse, func(fd int) {
		unix.Bind(fd, sockaddr(unspecified(to), port))
		unix.Connect(fd, sockaddr(to, toPort))
	})
}

func datagramFrom(port uint16, to netip.Addr, toPort uint16) {
	reuse := []option{{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, {unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}}
	withSocket(to, unix.SOCK_DGRAM, 0, reuse, func(fd int) {
		unix.Bind(fd, sockaddr(unspecified(to), port))
		unix.Sendto(fd, []byte("?"), 0, sockaddr(to, toPort))
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
		unix.Connect(fd, &unix.SockaddrInet6{Port: int(port), Addr: mapped.As16()})
		unix.Close(fd)
	}
}

func datagram(to netip.Addr, port uint16, options ...option) {
	withSocket(to, unix.SOCK_DGRAM, 0, options, func(fd int) { unix.Sendto(fd, []byte("?"), 0, sockaddr(to, port)) })
}

func datagramWith(to netip.Addr, port uint16, data []byte) (err error) {
	withSocket(to, unix.SOCK_DGRAM, 0, nil, func(fd int) { err = unix.Sendto(fd, data, 0, sockaddr(to, port)) })
	return err
}

func sockaddr(addr netip.Addr, port uint16) unix.Sockaddr {
	if addr.Is6() {
		return &unix.SockaddrInet6{Port: int(port), Addr: addr.As16()}
	}
	return &unix.SockaddrInet4{Port: int(port), Addr: addr.As4()}
}

// from is the pod's address of the family of to.
func (w *wire) from(to netip.Addr) netip.Addr {
	if to.Is4() {
		return w.from4
	}
	return w.from6
}

// answer sends from a port of the pod, as an ordinary socket.
func (w *wire) answer(to netip.Addr, kind int, from, port uint16) {
	withSocket(to, kind, 0, []option{{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}}, func(fd int) {
		unix.Bind(fd, sockaddr(w.from(to), from))
		unix.Connect(fd, sockaddr(to, port))
		unix.Write(fd, []byte("?"))
	})
}

// rawPacket sends a whole IP packet through a raw socket.
func (w *wire) rawPacket(to netip.Addr, protocol byte, payload []byte) {
	w.rawFrom(w.from(to), to, protocol, payload)
}

// rawFrom is rawPacket with any source.
func (w *wire) rawFrom(from, to netip.Addr, protocol byte, payload []byte) {
	packet, options := ip6(protocol, from, to, payload), []option{{unix.SOL_IPV6, unix.IPV6_HDRINCL, 1}}
	if to.Is4() {
		packet, options = ip4(protocol, from, to, payload), []option{{unix.SOL_IP, unix.IP_HDRINCL, 1}}
	}
	withSocket(to, unix.SOCK_RAW, unix.IPPROTO_RAW, options, func(fd int) { unix.Sendto(fd, packet, 0, sockaddr(to, 0)) })
}

func rawFragments(w *wire) {
	const noDefrag = 22 // IP_NODEFRAG
	options := []option{{unix.SOL_IP, unix.IP_HDRINCL, 1}, {unix.SOL_IP, noDefrag, 1}}
	withSocket(w.to4, unix.SOCK_RAW, unix.IPPROTO_RAW, options, func(fd int) {
		for _, f := range fragments4(w.from4, w.to4) {
			unix.Sendto(fd, f, 0, sockaddr(w.to4, 0))
		}
	})
}

// frameOptions are ways to deceive whoever judges a frame.
type frameOptions struct {
	bypassQueue   bool
	cooked        bool   // the kernel writes the frame's header
	tagged        bool   // priority tag of VLAN 0, which receivers ignore
	claims        uint16 // protocol the socket says it sends
	claimsOtherIP bool
}

func (w *wire) frame(to netip.Addr, o frameOptions, protocol byte, payload []byte) {
	kind, other, packet := uint16(unix.ETH_P_IPV6), uint16(unix.ETH_P_IP), ip6(protocol, w.from6, to, payload)
	if to.Is4() {
		kind, other, packet = unix.ETH_P_IP, unix.ETH_P_IPV6, ip4(protocol, w.from4, to, payload)
	}
	if o.claims == 0 {
		o.claims = kind
	}
	if o.claimsOtherIP {
		o.claims = other
	}
	switch {
	case o.cooked:
		sendCooked(w.eth0, kind, w.mac, packet)
	case o.tagged:
		tag := binary.BigEndian.AppendUint16([]byte{0x20, 0x00}, kind)
		sendFrame(w.eth0, o, ether(w.mac, w.podMAC, unix.ETH_P_8021Q, append(tag, packet...)))
	default:
		sendFrame(w.eth0, o, ether(w.mac, w.podMAC, kind, packet))
	}
}

func sendFrame(link int, o frameOptions, frame []byte) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if o.bypassQueue {
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
	}
	unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: link, Protocol: swap(o.claims), Halen: 6})
}

func sendCooked(link int, kind uint16, mac, packet []byte) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Ifindex: link, Protocol: swap(kind), Halen: 6}
	copy(to.Addr[:], mac)
	unix.Sendto(fd, packet, 0, to)
}

func ether(to, from []byte, kind uint16, payload []byte) []byte {
	out := append(append([]byte{}, to...), from...)
	return append(binary.BigEndian.AppendUint16(out, kind), payload...)
}

func ip4(protocol byte, from, to netip.Addr, payload []byte) []byte {
	out := make([]byte, 20, 20+len(payload))
	out[0], out[8], out[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(out[2:], uint16(20+len(payload)))
	copy(out[12:], from.AsSlice())
	copy(out[16:], to.AsSlice())
	return append(checked(out, 20), payload...)
}

// checked fills in the checksum of an IPv4 header.
func checked(packet []byte, header int) []byte {
	packet[10], packet[11] = 0, 0
	var sum uint32
	for i := 0; i < header; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(packet[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(packet[10:], ^uint16(sum>>16+sum))
	return packet
}

// fragments4 are a TCP SYN in two pieces.
func fragments4(from, to netip.Addr) [][]byte {
	whole := append(tcp(synFlag), make([]byte, 12)...)
	first, second := ip4(unix.IPPROTO_TCP, from, to, whole[:16]), ip4(unix.IPPROTO_TCP, from, to, whole[16:])
	first[4], second[4] = 7, 7    // one datagram's
	first[6], second[7] = 0x20, 2 // more to come; from the 16th byte on
	return [][]byte{checked(first, 20), checked(second, 20)}
}

func ip6(next byte, from, to netip.Addr, payload []byte) []byte {
	out := make([]byte, 40, 40+len(payload))
	out[0], out[6], out[7] = 0x60, next, 64
	binary.BigEndian.PutUint16(out[4:], uint16(len(payload)))
	copy(out[8:], from.AsSlice())
	copy(out[24:], to.AsSlice())
	return append(out, payload...)
}

func tcp(flags byte) []byte { return tcpTo(80, flags) }

func tcpTo(port uint16, flags byte) []byte { return tcpFrom(40000, port, flags) }

func tcpFrom(from, port uint16, flags byte) []byte {
	out := make([]byte, 20)
	binary.BigEndian.PutUint16(out, from)
	binary.BigEndian.PutUint16(out[2:], port)
	out[7], out[12], out[13], out[14] = 1, 5<<4, flags, 0xff
	return out
}

func udp(port uint16) []byte { return udpFrom(40000, port) }

func udpFrom(from, port uint16) []byte {
	out := make([]byte, 16)
	binary.BigEndian.PutUint16(out, from)
	binary.BigEndian.PutUint16(out[2:], port)
	out[5] = 16
	return out
}
