package rules

// zoneChain must see every packet of captured DNS, in both directions, before
// conntrack does. The answers come first: the proxy that sends them is exempt.
func (b builder) zoneChain() Chain {
	zone := Action{Kind: ActionZone}
	toLo := Match{Key: KeyLoopback}
	out := b.entry(
		Rule{"UDP DNS answer", ReasonDNS, []Match{toLo, {Key: KeyUDPSrcPort, Port: b.c.DNSPort}}, zone},
		Rule{"TCP DNS answer", ReasonDNS, []Match{toLo, {Key: KeyTCPSrcPort, Port: b.c.DNSPort}}, zone},
		jumpDirect())
	return Chain{Name: chainZone, Hook: &Hook{"filter", Output, priorityRaw}, Rules: append(out, dnsRules("", nil, zone, zone)...)}
}

// marksChain counts the new packets with a mark that does not exempt. Whoever
// tries them all meets the right one as well, so too many of them suspend the
// exemption for a while. The right one does not count, or a busy proxy would keep
// itself suspended.
func (b builder) marksChain() Chain {
	alarm := Action{Kind: ActionAlarm, Set: SetMarkAlarm}
	marked, wrong := Match{Key: KeyMarked}, Match{Key: KeyMark, Set: setExemptMarks, Not: true}
	out := b.entry(ongoing(), jumpDirect())
	out = append(out, localRules()...)
	return Chain{Name: chainMarks, Hook: &Hook{"filter", Output, priorityMangle}, Rules: append(out,
		Rule{"wrong mark to an included port", ReasonExempt, []Match{marked, wrong, {Key: KeyTCPPort, Set: setIncludePorts}}, alarm},
		Rule{"wrong mark to an IPv4 range", ReasonExempt, []Match{marked, wrong, {Key: KeyIPv4Dst, Set: setInclude4}}, alarm},
		Rule{"wrong mark to an IPv6 range", ReasonExempt, []Match{marked, wrong, {Key: KeyIPv6Dst, Set: setInclude6}}, alarm})}
}

// natChain redirects SYNs only: in a namespace that had no conntrack, connections
// older than the rules look new to it in mid-stream, and would be reset.
func (b builder) natChain() Chain {
	return Chain{Name: chainNAT, Hook: &Hook{"nat", Output, priorityDstNAT}, Rules: append(b.entry(jumpDirect()), b.redirects(localRules())...)}
}

// boundChain holds back sockets that are bound to an interface (SO_BINDTODEVICE): a
// redirect gives their packets a loopback address, and the kernel then looks for a way
// there by that interface. Any default route is one. At the other end a node that
// routes loopback (route_localnet, which kube-proxy may set) would take them for its
// own. Only here, after the redirect, the interface is the one they leave by; a packet
// can be dropped here but not refused, so who binds a socket waits in vain.
func boundChain() Chain {
	drop := Action{Kind: ActionDrop}
	return Chain{Name: chainBound, Hook: &Hook{"filter", Postrouting, priorityMangle}, Rules: []Rule{
		{"redirected, but bound to an interface, IPv4", ReasonOther, []Match{{Key: KeyLeaves}, {Key: KeyRewritten}, {Key: KeyToLoopback4}}, drop},
		{"redirected, but bound to an interface, IPv6", ReasonOther, []Match{{Key: KeyLeaves}, {Key: KeyRewritten}, {Key: KeyToLoopback6}}, drop},
	}}
}

// redirects are the lines from DNS on; local are the rules for what stays in the
// namespace.
func (b builder) redirects(local []Rule) []Rule {
	syn := Match{Key: KeySYN}
	toProxy := Action{Kind: ActionRedirect, Port: b.c.OutboundPort}
	var out []Rule
	if b.c.DNSCapture {
		toDNS := Action{Kind: ActionRedirect, Port: b.c.DNSPort}
		out = dnsRules("", &syn, toDNS, toDNS)
	}
	return append(append(out, local...),
		Rule{"included port", ReasonIncludedPort, []Match{syn, {Key: KeyTCPPort, Set: setIncludePorts}}, toProxy},
		Rule{"included IPv4 range", ReasonIncludedRange, []Match{syn, {Key: KeyIPv4Dst, Set: setInclude4}}, toProxy},
		Rule{"included IPv6 range", ReasonIncludedRange, []Match{syn, {Key: KeyIPv6Dst, Set: setInclude6}}, toProxy})
}

// filterChain stands after the redirects, whose packets it knows by conntrack:
// the outgoing interface it sees is still the one before the redirect.
func (b builder) filterChain() Chain {
	out := b.entry(ongoing())
	if b.c.FailurePolicy == FailureBlock {
		out = append(out, foreign())
	}
	out = append(out,
		Rule{"redirected", ReasonDNS, []Match{{Key: KeyRewritten}}, Action{Kind: ActionAccept}},
		jumpDirect())
	return Chain{Name: chainFilter, Hook: &Hook{"filter", Output, priorityFilter}, Rules: append(out, b.refusals(localRules())...)}
}

// foreign keeps conntrack's memory honest. A raw socket can send, by lo or anything
// else, what seems to come from a captured address: whatever then goes to that
// address is the answer, and ongoing. Such a packet makes no connection, whoever
// sends it and wherever to, excluded destinations too.
func foreign() Rule {
	return Rule{"foreign source", ReasonOther, []Match{{Key: KeyNew}, {Key: KeyForeignSrc}}, Action{Kind: ActionDrop}}
}

// refusals are what stands beneath the redirects, in their order.
func (b builder) refusals(local []Rule) []Rule {
	var out []Rule
	block := b.c.FailurePolicy == FailureBlock
	if block && b.c.DNSCapture {
		out = append(out, b.dnsGuard()...)
	}
	out = append(out, local...)
	if block {
		out = append(out, b.guard()...)
	}
	if b.c.NonTCP == NonTCPReject {
		out = append(out, nonTCPRules()...)
	}
	return out
}

// guard is the second layer: the redirects once more, as refusals. What reaches
// it has lost its redirect, or never was a connection's first packet.
//
// A SYN is dropped. It may have passed the redirects just before they were in force, or
// just before they had its range, and be here just after; it is sent again (after a second)
// and redirected then, since conntrack forgets what was dropped before it left. Other new
// connections are reset: no redirect comes for them any more. Of a SYN that is sent again
// after an earlier one has left, NAT has decided; and what begins in mid-stream was
// forgotten by conntrack. Anything else of TCP, such as a packet that conntrack finds
// invalid or a fragment it has not put together, is dropped: a reset would end a living
// connection for one odd packet. In a namespace that had connections before it had
// conntrack those look odd too, so there nothing but SYNs is held.
func (b builder) guard() []Rule {
	drop := Action{Kind: ActionDrop}
	out := append(guardRules("guard of ", Match{Key: KeyFirst}, drop),
		guardRules("late to ", b.late(), Action{Kind: ActionReset})...)
	if !b.running {
		out = append(out, guardRules("rest of TCP to ", Match{Key: KeyTCP}, drop)...)
	}
	return out
}

func guardRules(name string, which Match, action Action) []Rule {
	return []Rule{
		{name + "included ports", ReasonIncludedPort, []Match{which, {Key: KeyTCPPort, Set: setIncludePorts}}, action},
		{name + "included IPv4 ranges", ReasonIncludedRange, []Match{which, {Key: KeyTCP}, {Key: KeyIPv4Dst, Set: setInclude4}}, action},
		{name + "included IPv6 ranges", ReasonIncludedRange, []Match{which, {Key: KeyTCP}, {Key: KeyIPv6Dst, Set: setInclude6}}, action},
	}
}

// dnsGuard is the guard of captured DNS. Over UDP the refusal is an error at once, as a
// packet that is dropped here would be too, and the resolver asks again.
func (b builder) dnsGuard() []Rule {
	reset, reject, drop := Action{Kind: ActionReset}, Action{Kind: ActionReject}, Action{Kind: ActionDrop}
	first, late := Match{Key: KeyFirst}, b.late()
	out := append(dnsRules("guard of ", &first, reject, drop), dnsRules("late ", &late, reject, reset)[2:]...)
	if !b.running {
		out = append(out, dnsRules("rest of ", nil, drop, drop)[2:]...)
	}
	return out
}

// late is what begins a connection for conntrack, and comes after the packet that a
// redirect would have been for.
func (b builder) late() Match {
	if b.running {
		return Match{Key: KeySYN}
	}
	return Match{Key: KeyNew}
}

// dnsRules catch DNS; first, if any, is a condition on TCP.
func dnsRules(name string, first *Match, udp, tcp Action) []Rule {
	tcpMatch := func(dst Match) []Match {
		out := []Match{{Key: KeyTCPPort, Port: portDNS}, dst}
		if first != nil {
			out = append([]Match{*first}, out...)
		}
		return out
	}
	to4, to6 := Match{Key: KeyIPv4Dst, Set: setDNS4}, Match{Key: KeyIPv6Dst, Set: setDNS6}
	return []Rule{
		{name + "UDP DNS over IPv4", ReasonDNS, []Match{{Key: KeyUDPPort, Port: portDNS}, to4}, udp},
		{name + "UDP DNS over IPv6", ReasonDNS, []Match{{Key: KeyUDPPort, Port: portDNS}, to6}, udp},
		{name + "TCP DNS over IPv4", ReasonDNS, tcpMatch(to4), tcp},
		{name + "TCP DNS over IPv6", ReasonDNS, tcpMatch(to6), tcp},
	}
}

// nonTCPRules refuse what the proxy cannot carry, save what a network needs to
// work at all.
func nonTCPRules() []Rule {
	accept, reject := Action{Kind: ActionAccept}, Action{Kind: ActionReject}
	out := []Rule{{"TCP", ReasonHousekeeping, []Match{{Key: KeyTCP}}, accept}}
	out = append(out, necessities(KeyIPv4Dst, KeyIPv6Dst)...)
	return append(out,
		Rule{"non-TCP to an IPv4 range", ReasonNonTCP, []Match{{Key: KeyIPv4Dst, Set: setInclude4}}, reject},
		Rule{"non-TCP to an IPv6 range", ReasonNonTCP, []Match{{Key: KeyIPv6Dst, Set: setInclude6}}, reject})
}

// necessities are what a network needs to work at all.
func necessities(ipv4, ipv6 Key) []Rule {
	accept := Action{Kind: ActionAccept}
	return []Rule{
		{"DNS", ReasonHousekeeping, []Match{{Key: KeyUDPPort, Port: portDNS}}, accept},
		{"DHCP", ReasonHousekeeping, []Match{{Key: ipv4}, {Key: KeyUDPSrcPort, Port: portDHCPClient}, {Key: KeyUDPPort, Port: portDHCPServer}}, accept},
		{"DHCPv6", ReasonHousekeeping, []Match{{Key: ipv6}, {Key: KeyUDPSrcPort, Port: portDHCPv6Client}, {Key: KeyUDPPort, Port: portDHCPv6Server}}, accept},
		{"IGMP", ReasonHousekeeping, []Match{{Key: KeyIGMP}}, accept},
		{"ICMP other than echo", ReasonHousekeeping, []Match{{Key: KeyICMPOther}}, accept},
		{"ICMPv6 other than echo", ReasonHousekeeping, []Match{{Key: KeyICMPv6Other}}, accept},
	}
}

func localRules() []Rule {
	accept := Action{Kind: ActionAccept}
	return []Rule{
		{"local IPv4", ReasonLocal, []Match{{Key: KeyLoopback}, {Key: KeyIPv4Dst, Set: setNamed4, Not: true}}, accept},
		{"local IPv6", ReasonLocal, []Match{{Key: KeyLoopback}, {Key: KeyIPv6Dst, Set: setNamed6, Not: true}}, accept},
	}
}

// ongoing lets replies and connections that are under way pass.
func ongoing() Rule {
	return Rule{"ongoing", ReasonHousekeeping, []Match{{Key: KeyOngoing}}, Action{Kind: ActionAccept}}
}
