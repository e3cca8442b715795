package escape

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Flags of TCP.
const (
	FIN = 0x01
	SYN = 0x02
	RST = 0x04
	ACK = 0x10
)

// IP4 is an IPv4 packet.
func IP4(protocol byte, from, to netip.Addr, payload []byte) []byte {
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
	whole := append(TCP(SYN), make([]byte, 12)...)
	first, second := IP4(unix.IPPROTO_TCP, from, to, whole[:16]), IP4(unix.IPPROTO_TCP, from, to, whole[16:])
	first[4], second[4] = 7, 7    // one datagram's
	first[6], second[7] = 0x20, 2 // more to come; from the 16th byte on
	return [][]byte{checked(first, 20), checked(second, 20)}
}

// IP6 is an IPv6 packet.
func IP6(next byte, from, to netip.Addr, payload []byte) []byte {
	out := make([]byte, 40, 40+len(payload))
	out[0], out[6], out[7] = 0x60, next, 64
	binary.BigEndian.PutUint16(out[4:], uint16(len(payload)))
	copy(out[8:], from.AsSlice())
	copy(out[24:], to.AsSlice())
	return append(out, payload...)
}

// TCP is a TCP header to port 80.
func TCP(flags byte) []byte { return TCPTo(80, flags) }

// TCPTo is a TCP header to a port.
func TCPTo(port uint16, flags byte) []byte { return TCPFrom(40000, port, flags) }

// TCPFrom is a TCP header.
func TCPFrom(from, port uint16, flags byte) []byte {
	out := make([]byte, 20)
	binary.BigEndian.PutUint16(out, from)
	binary.BigEndian.PutUint16(out[2:], port)
	out[7], out[12], out[13], out[14] = 1, 5<<4, flags, 0xff
	return out
}

// UDP is a UDP datagram to a port.
func UDP(port uint16) []byte { return UDPFrom(40000, port) }

// UDPFrom is a UDP datagram.
func UDPFrom(from, port uint16) []byte {
	out := make([]byte, 16)
	binary.BigEndian.PutUint16(out, from)
	binary.BigEndian.PutUint16(out[2:], port)
	out[5] = 16
	return out
}
