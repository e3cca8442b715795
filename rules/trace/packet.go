package trace

import (
	"encoding/binary"
	"net/netip"

	"github.com/sluice-cni/sluice/rules"
	"golang.org/x/sys/unix"
)

// packet is the first one of a flow: its headers as bytes, and what the kernel knows
// about it beside them.
type packet struct {
	rules.Flow
	family     byte
	network    []byte
	transport  []byte
	redirected bool
	cgroups    []uint64
}

func newPacket(f rules.Flow, cgroups []uint64) *packet {
	f.Dst = f.Dst.Unmap()
	p := &packet{Flow: f, cgroups: cgroups, family: unix.NFPROTO_IPV4}
	if f.Dst.Is6() {
		p.family = unix.NFPROTO_IPV6
	}
	p.write()
	return p
}

const (
	tcpHeader  = 20
	tcpFlags   = 13
	tcpSYN     = 2
	destPort   = 2
	ipv4Header = 20
	ipv4Dest   = 16
	ipv6Header = 40
	ipv6Dest   = 24
	otherBytes = 8
)

// write lays the headers out as they are on the wire, as far as anybody looks.
func (p *packet) write() {
	if p.family == unix.NFPROTO_IPV4 {
		p.network = make([]byte, ipv4Header)
		p.network[0], p.network[9] = 0x45, byte(p.Protocol)
		copy(p.network[ipv4Dest:], p.Dst.AsSlice())
	} else {
		p.network = make([]byte, ipv6Header)
		p.network[0], p.network[6] = 0x60, byte(p.Protocol)
		copy(p.network[ipv6Dest:], p.Dst.AsSlice())
	}
	p.transport = make([]byte, otherBytes)
	switch p.Protocol {
	case rules.TCP:
		p.transport = make([]byte, tcpHeader)
		p.transport[12], p.transport[tcpFlags] = 5<<4, tcpSYN
		fallthrough
	case rules.UDP:
		binary.BigEndian.PutUint16(p.transport, p.SrcPort)
		binary.BigEndian.PutUint16(p.transport[destPort:], p.DstPort)
	case rules.ICMP, rules.ICMPv6:
		p.transport[0] = p.ICMPType
	}
}

// redirect does what NAT does. The outgoing interface stays the one from before, as
// it does for the chains that follow at the same hook.
func (p *packet) redirect(port uint16) {
	p.redirected, p.DstPort = true, port
	if p.InInterface == "" {
		p.Dst = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if p.family == unix.NFPROTO_IPV6 {
			p.Dst = netip.IPv6Loopback()
		}
	}
	p.write()
}
