package rules

// frames stop what was not routed. That is what packet sockets send: of IP nothing
// but a DHCP client's broadcast, wherever it goes, since what is seen here need not
// be what leaves. Whoever has such a socket may have the kernel write a checksum of
// his choice into the frame afterwards, over half an address, a port or the
// protocol; and may shift the headers the kernel reads by four bytes. What a bridge
// passes on, a virtual machine's frames say, is judged by its destination; it may
// lie about its protocol, and what cannot be read does not pass.
func (b builder) frames() Frames {
	c := b.c
	captures := !c.IncludeIPRanges.None() || len(c.IncludeOutboundPorts) > 0 || c.DNSCapture
	if c.FailurePolicy != FailureBlock || !captures {
		return Frames{}
	}
	accept, drop := Action{Kind: ActionAccept}, Action{Kind: ActionDrop}
	out := []Rule{
		{"sent by an ordinary socket", ReasonOther, []Match{{Key: KeyRouted}}, accept},
		{"ARP", ReasonHousekeeping, []Match{{Key: KeyARP}}, accept},
		{"neither IP nor ARP", ReasonNonTCP, []Match{{Key: KeyNotIP}}, drop},
		{"DHCP broadcast", ReasonHousekeeping, []Match{{Key: KeyBroadcast}, {Key: KeyUDPSrcPort, Port: portDHCPClient}, {Key: KeyUDPPort, Port: portDHCPServer}}, accept},
		{"sent by a packet socket", ReasonNonTCP, []Match{{Key: KeyMadeHere}}, drop},
		{"excluded TCP port", ReasonExcludedPort, []Match{{Key: KeyTCPPort, Set: setExcludePorts}}, accept},
		{"excluded UDP port", ReasonExcludedPort, []Match{{Key: KeyUDPPort, Set: setExcludePorts}}, accept},
		{"excluded IPv4 range", ReasonExcludedRange, []Match{{Key: KeyFrameIPv4, Set: setExclude4}}, accept},
		{"excluded IPv6 range", ReasonExcludedRange, []Match{{Key: KeyFrameIPv6, Set: setExclude6}}, accept},
	}
	if c.DNSCapture {
		out = append(out,
			Rule{"UDP DNS over IPv4", ReasonDNS, []Match{{Key: KeyUDPPort, Port: portDNS}, {Key: KeyFrameIPv4, Set: setDNS4}}, drop},
			Rule{"UDP DNS over IPv6", ReasonDNS, []Match{{Key: KeyUDPPort, Port: portDNS}, {Key: KeyFrameIPv6, Set: setDNS6}}, drop},
			Rule{"TCP DNS over IPv4", ReasonDNS, []Match{{Key: KeyTCPPort, Port: portDNS}, {Key: KeyFrameIPv4, Set: setDNS4}}, drop},
			Rule{"TCP DNS over IPv6", ReasonDNS, []Match{{Key: KeyTCPPort, Port: portDNS}, {Key: KeyFrameIPv6, Set: setDNS6}}, drop})
	}
	out = append(out, Rule{"included port", ReasonIncludedPort, []Match{{Key: KeyTCPPort, Set: setIncludePorts}}, drop})
	if c.NonTCP == NonTCPReject {
		out = append(out, necessities(KeyFrameIPv4, KeyFrameIPv6)...)
	} else {
		out = append(out,
			Rule{"non-TCP over IPv4", ReasonOther, []Match{{Key: KeyFrameIPv4}, {Key: KeyNotTCP}}, accept},
			Rule{"non-TCP over IPv6", ReasonOther, []Match{{Key: KeyFrameIPv6}, {Key: KeyNotTCP}}, accept})
	}
	return Frames{Sets: b.destinations, Rules: append(out,
		Rule{"included IPv4 range", ReasonIncludedRange, []Match{{Key: KeyFrameIPv4, Set: setInclude4}}, drop},
		Rule{"included IPv6 range", ReasonIncludedRange, []Match{{Key: KeyFrameIPv6, Set: setInclude6}}, drop},
		Rule{"IPv4 elsewhere", ReasonOther, []Match{{Key: KeyFrameIPv4}, {Key: KeyTransport}}, accept},
		Rule{"IPv6 elsewhere", ReasonOther, []Match{{Key: KeyFrameIPv6}, {Key: KeyTransport}}, accept},
		Rule{"unreadable", ReasonNonTCP, nil, drop})}
}
