package escape

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// packetAttempts write frames, beneath everything that belongs to IP.
func (p Place) packetAttempts(both overBoth) {
	for name, o := range map[string]FrameOptions{
		"a packet socket":                                  {},
		"a packet socket past the queue":                   {BypassQueue: true},
		"a packet socket that says it is ARP":              {Claims: unix.ETH_P_ARP},
		"a packet socket that says it is anything":         {Claims: 0x88b5},
		"a packet socket that claims the other IP":         {ClaimsOtherIP: true},
		"a packet socket with a priority tag":              {Tagged: true},
		"a packet socket without a frame header":           {Cooked: true},
		"a packet socket past the queue that lies as well": {BypassQueue: true, Claims: unix.ETH_P_ARP},
	} {
		both(name, func(to netip.Addr) { p.Frame(to, o, unix.IPPROTO_TCP, TCP(SYN)) })
	}
	both("a packet socket with TCP in mid-stream", func(to netip.Addr) { p.Frame(to, FrameOptions{}, unix.IPPROTO_TCP, TCP(ACK)) })
	both("a packet socket with UDP", func(to netip.Addr) { p.Frame(to, FrameOptions{}, unix.IPPROTO_UDP, UDP(443)) })
	both("a packet socket with DNS", func(to netip.Addr) { p.Frame(to, FrameOptions{}, unix.IPPROTO_UDP, UDP(53)) })
	both("a packet socket with SCTP", func(to netip.Addr) { p.Frame(to, FrameOptions{}, 132, make([]byte, 32)) })
	both("a packet socket with fragments", func(to netip.Addr) {
		if to.Is4() {
			for _, f := range fragments4(p.From4, to) {
				SendFrame(p.Link, FrameOptions{}, Ether(p.NextHop, p.MAC, unix.ETH_P_IP, f))
			}
			return
		}
		header := append([]byte{unix.IPPROTO_TCP, 0, 0, 1, 0, 0, 0, 7}, TCP(SYN)...) // more to come, offset 0
		p.Frame(to, FrameOptions{}, unix.IPPROTO_FRAGMENT, header)
		later := append([]byte{unix.IPPROTO_TCP, 0, 0, 24, 0, 0, 0, 7}, make([]byte, 24)...) // the last, offset 24
		p.Frame(to, FrameOptions{}, unix.IPPROTO_FRAGMENT, later)
	})
	both("a packet socket with TCP behind options", func(to netip.Addr) {
		if to.Is6() {
			p.Frame(to, FrameOptions{}, unix.IPPROTO_HOPOPTS, append([]byte{unix.IPPROTO_TCP, 0, 1, 4, 0, 0, 0, 0}, TCP(SYN)...))
			return
		}
		packet := IP4(unix.IPPROTO_TCP, p.From4, to, append([]byte{1, 1, 1, 0}, TCP(SYN)...))
		packet[0] = 0x46
		SendFrame(p.Link, FrameOptions{}, Ether(p.NextHop, p.MAC, unix.ETH_P_IP, checked(packet, 24)))
	})
}

// byLoopback puts a frame on lo, which comes in by it and is sent on where forwarding
// is on, routed and all.
func (p Place) byLoopback() {
	nowhere := make([]byte, 6)
	SendFrame(p.Loopback, FrameOptions{}, Ether(nowhere, nowhere, unix.ETH_P_IP, IP4(unix.IPPROTO_TCP, p.Nobody4, p.To4, TCP(SYN))))
}
