package escape

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"golang.org/x/sys/unix"
)

// FrameOptions are ways to deceive whoever judges a frame.
type FrameOptions struct {
	BypassQueue   bool
	Cooked        bool   // the kernel writes the frame's header
	Tagged        bool   // priority tag of VLAN 0, which receivers ignore
	Claims        uint16 // protocol the socket says it sends
	ClaimsOtherIP bool
}

// Frame sends a packet from the pod in a frame of its own.
func (p Place) Frame(to netip.Addr, o FrameOptions, protocol byte, payload []byte) {
	kind, other, packet := uint16(unix.ETH_P_IPV6), uint16(unix.ETH_P_IP), IP6(protocol, p.From6, to, payload)
	if to.Is4() {
		kind, other, packet = unix.ETH_P_IP, unix.ETH_P_IPV6, IP4(protocol, p.From4, to, payload)
	}
	if o.Claims == 0 {
		o.Claims = kind
	}
	if o.ClaimsOtherIP {
		o.Claims = other
	}
	switch {
	case o.Cooked:
		sendCooked(p.Link, kind, p.NextHop, packet)
	case o.Tagged:
		tag := binary.BigEndian.AppendUint16([]byte{0x20, 0x00}, kind)
		SendFrame(p.Link, o, Ether(p.NextHop, p.MAC, unix.ETH_P_8021Q, append(tag, packet...)))
	default:
		SendFrame(p.Link, o, Ether(p.NextHop, p.MAC, kind, packet))
	}
}

// SendFrame sends a frame by an interface of this thread's namespace.
func SendFrame(link int, o FrameOptions, frame []byte) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if o.BypassQueue {
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
	}
	unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: link, Protocol: networkOrder(o.Claims), Halen: 6})
}

func sendCooked(link int, kind uint16, mac, packet []byte) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Ifindex: link, Protocol: networkOrder(kind), Halen: 6}
	copy(to.Addr[:], mac)
	unix.Sendto(fd, packet, 0, to)
}

// Ether is a frame.
func Ether(to, from []byte, kind uint16, payload []byte) []byte {
	out := append(append([]byte{}, to...), from...)
	return append(binary.BigEndian.AppendUint16(out, kind), payload...)
}

func networkOrder32(n uint32) uint32 { return bits.ReverseBytes32(n) }

func networkOrder(n uint16) uint16 { return n<<8 | n>>8 }
