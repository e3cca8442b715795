package rules

import (
	"net/netip"
	"slices"

	"github.com/sluice-cni/sluice/cidr"
)

// Protocol is an IP protocol number.
type Protocol uint8

const (
	ICMP   Protocol = 1
	IGMP   Protocol = 2
	TCP    Protocol = 6
	UDP    Protocol = 17
	ICMPv6 Protocol = 58
	SCTP   Protocol = 132
)

// Ports and ICMP types that the rules treat alike in every namespace.
const (
	portDNS          = 53
	portDHCPClient   = 68
	portDHCPServer   = 67
	portDHCPv6Client = 546
	portDHCPv6Server = 547
	icmpEchoRequest  = 8
	icmp6EchoRequest = 128
)

// Flow is the first packet of something that a process of the namespace sends, or
// that arrives from outside (InInterface). Replies and later packets follow the
// first one's verdict.
type Flow struct {
	Protocol         Protocol
	Dst              netip.Addr
	DstPort, SrcPort uint16 // TCP and UDP
	ICMPType         uint8  // ICMP and ICMPv6
	UID, GID         uint32 // of whoever made the socket; other groups do not count
	Cgroup           string // of whoever made the socket
	Agent            bool   // a node agent made the socket, one that the namespace's rules exempt
	Mark             uint32
	InInterface      string // by which it arrives; "" for what the namespace sends
	OutInterface     string // "lo" for loopback and the namespace's own addresses
}

// origin is where a flow comes from, which decides the lines that concern it.
type origin uint8

const (
	fromProcess  origin = iota // sent by a socket of the namespace
	fromRerouted               // arrived by one of rerouteInterfaces: outbound, without an owner
	fromOutside                // arrived by any other interface
)

func originOf(c Config, f Flow) origin {
	switch {
	case f.InInterface == "":
		return fromProcess
	case slices.Contains(c.RerouteInterfaces, f.InInterface):
		return fromRerouted
	}
	return fromOutside
}

// Decide says what happens to a flow, and by which line of Precedence. It is the
// meaning of a Config: backends are tested to give the same verdicts.
func Decide(c Config, f Flow) (Verdict, Reason) {
	f.Dst = f.Dst.Unmap()
	for _, line := range Precedence() {
		if matches(c, f, line.Reason) {
			return line.Verdict, line.Reason
		}
	}
	return Direct, ReasonOther
}

func matches(c Config, f Flow, line Reason) bool {
	from := originOf(c, f)
	switch line {
	case ReasonAgent:
		return from == fromProcess && f.Agent
	case ReasonExempt:
		return from == fromProcess && exempt(c, f)
	case ReasonExcludedInterface:
		if from == fromProcess {
			return slices.Contains(c.ExcludeInterfaces, f.OutInterface)
		}
		return slices.Contains(c.ExcludeInterfaces, f.InInterface)
	case ReasonOwnerGroup:
		return from == fromProcess && (slices.Contains(c.OwnerGroupsExclude, f.GID) || !c.OwnerGroupsInclude.Contains(f.GID))
	case ReasonLocal:
		switch from {
		case fromOutside:
			return f.InInterface == "lo"
		case fromRerouted:
			return f.OutInterface == "lo"
		}
		return f.OutInterface == "lo" && !namedAddresses(c).Contains(f.Dst)
	case ReasonExcludedInboundPort:
		return from == fromOutside && f.Protocol == TCP && c.ExcludeInboundPorts.Contains(f.DstPort)
	case ReasonIncludedInboundPort:
		return from == fromOutside && f.Protocol == TCP && c.IncludeInboundPorts.Contains(f.DstPort)
	case ReasonInbound:
		return from == fromOutside
	}
	return from != fromOutside && matchesDestination(c, f, line)
}

// matchesDestination judges the lines about where a flow is sent to.
func matchesDestination(c Config, f Flow, line Reason) bool {
	hasPort := f.Protocol == TCP || f.Protocol == UDP
	switch line {
	case ReasonExcludedPort:
		return hasPort && c.ExcludeOutboundPorts.Contains(f.DstPort)
	case ReasonExcludedRange:
		return c.ExcludeIPRanges.Contains(f.Dst)
	case ReasonDNS:
		return c.DNSCapture && hasPort && f.DstPort == portDNS && c.DNSServers.Contains(f.Dst)
	case ReasonIncludedPort:
		return f.Protocol == TCP && c.IncludeOutboundPorts.Contains(f.DstPort)
	case ReasonIncludedRange:
		return f.Protocol == TCP && c.includes(f.Dst)
	case ReasonHousekeeping:
		return housekeeping(f)
	case ReasonNonTCP:
		return c.NonTCP == NonTCPReject && c.includes(f.Dst)
	}
	return true
}

func exempt(c Config, f Flow) bool {
	switch c.Exemption {
	case ExemptByMark:
		return f.Mark == c.ExemptMark
	case ExemptByCgroup:
		return c.ExemptCgroups.Contain(f.Cgroup)
	}
	return slices.Contains(c.ExemptUIDs, f.UID) || slices.Contains(c.ExemptGIDs, f.GID)
}

func housekeeping(f Flow) bool {
	switch f.Protocol {
	case TCP, IGMP:
		return true
	case UDP:
		dhcp4 := f.SrcPort == portDHCPClient && f.DstPort == portDHCPServer && f.Dst.Is4()
		dhcp6 := f.SrcPort == portDHCPv6Client && f.DstPort == portDHCPv6Server && f.Dst.Is6()
		return f.DstPort == portDNS || dhcp4 || dhcp6
	case ICMP:
		return f.ICMPType != icmpEchoRequest
	case ICMPv6:
		return f.ICMPType != icmp6EchoRequest
	}
	return false
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// namedAddresses are the included ranges that name what leaves by lo: those that
// lie inside loopback, and single addresses. A wide range such as 0.0.0.0/0 or
// 10.0.0.0/8 happens to hold loopback or the pod's own address and names neither.
func namedAddresses(c Config) cidr.List {
	var named []netip.Prefix
	for _, p := range c.IncludeIPRanges.Prefixes {
		inside := func(l netip.Prefix) bool { return l.Bits() <= p.Bits() && l.Contains(p.Addr()) }
		if p.IsSingleIP() || slices.ContainsFunc(loopback, inside) {
			named = append(named, p)
		}
	}
	return cidr.Of(named...)
}
