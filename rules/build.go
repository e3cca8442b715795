package rules

import "fmt"

// Names of the plan's sets and chains. Family-specific ones come in pairs.
const (
	setExemptUIDs   = "exempt_uids"
	setExemptGIDs   = "exempt_gids"
	setExemptMarks  = "exempt_marks"
	setInterfaces   = "exclude_interfaces"
	setExcludePorts = "exclude_ports"
	setIncludePorts = "include_ports"
	setExclude4     = "exclude_ipv4"
	setExclude6     = "exclude_ipv6"
	setInclude4     = "include_ipv4"
	setInclude6     = "include_ipv6"
	setNamed4       = "named_ipv4"
	setNamed6       = "named_ipv6"
	setDNS4         = "dns_ipv4"
	setDNS6         = "dns_ipv6"

	chainDirect = "direct"
	chainZone   = "output_zone"
	chainNAT    = "output_nat"
	chainFilter = "output_filter"
)

// Priorities in the output hook: before conntrack, where destinations are
// rewritten, and after that.
const (
	priorityRaw    = -300
	priorityDstNAT = -100
	priorityFilter = 0
)

// NewPlan lays a valid Config out as sets and chains, in the order of Precedence:
//
//	direct         the lines that let a flow pass before anything is captured
//	output_zone    puts captured DNS in its conntrack zone (dnsCapture)
//	output_nat     redirects: DNS, then local stays, then included ports and ranges
//	output_filter  refuses what was not redirected and should have been
//	               (failurePolicy block), and what cannot be (nonTCP reject)
func NewPlan(c Config) (Plan, error) {
	if err := c.Validate(); err != nil {
		return Plan{}, fmt.Errorf("the configuration cannot be applied: %w", err)
	}
	c = c.canonical()
	p := Plan{Hash: c.Hash(), Sets: sets(c), Chains: []Chain{directChain()}}
	if c.DNSCapture {
		p.Chains = append(p.Chains, zoneChain(c))
	}
	p.Chains = append(p.Chains, natChain(c))
	if c.NonTCP == NonTCPReject || c.FailurePolicy == FailureBlock {
		p.Chains = append(p.Chains, filterChain(c))
	}
	return p, nil
}

func sets(c Config) []Set {
	named := namedAddresses(c)
	out := []Set{
		{Name: setExcludePorts, Type: SetPort, Ports: c.ExcludeOutboundPorts},
		{Name: setIncludePorts, Type: SetPort, Ports: c.IncludeOutboundPorts},
		{Name: setInterfaces, Type: SetInterface, Interfaces: c.ExcludeInterfaces},
		{Name: setExclude4, Type: SetIPv4, Addresses: c.ExcludeIPRanges.Ranges4()},
		{Name: setExclude6, Type: SetIPv6, Addresses: c.ExcludeIPRanges.Ranges6()},
		{Name: setInclude4, Type: SetIPv4, Addresses: c.IncludeIPRanges.Ranges4()},
		{Name: setInclude6, Type: SetIPv6, Addresses: c.IncludeIPRanges.Ranges6()},
		{Name: setNamed4, Type: SetIPv4, Addresses: named.Ranges4()},
		{Name: setNamed6, Type: SetIPv6, Addresses: named.Ranges6()},
	}
	var marks []uint32
	if c.Exemption == ExemptByMark {
		marks = []uint32{c.ExemptMark}
	}
	out = append(out,
		Set{Name: setExemptUIDs, Type: SetUID, Numbers: c.ExemptUIDs},
		Set{Name: setExemptGIDs, Type: SetGID, Numbers: c.ExemptGIDs},
		Set{Name: setExemptMarks, Type: SetMark, Numbers: marks})
	if c.DNSCapture {
		out = append(out,
			Set{Name: setDNS4, Type: SetIPv4, Addresses: c.DNSServers.Ranges4()},
			Set{Name: setDNS6, Type: SetIPv6, Addresses: c.DNSServers.Ranges6()})
	}
	return out
}

func directChain() Chain {
	accept := Action{Kind: ActionAccept}
	return Chain{Name: chainDirect, Rules: []Rule{
		{"exempt uid", ReasonExempt, []Match{{Key: KeyUID, Set: setExemptUIDs}}, accept},
		{"exempt gid", ReasonExempt, []Match{{Key: KeyGID, Set: setExemptGIDs}}, accept},
		{"exempt mark", ReasonExempt, []Match{{Key: KeyMark, Set: setExemptMarks}}, accept},
		{"excluded interface", ReasonExcludedInterface, []Match{{Key: KeyInterface, Set: setInterfaces}}, accept},
		{"excluded TCP port", ReasonExcludedPort, []Match{{Key: KeyTCPPort, Set: setExcludePorts}}, accept},
		{"excluded UDP port", ReasonExcludedPort, []Match{{Key: KeyUDPPort, Set: setExcludePorts}}, accept},
		{"excluded IPv4 range", ReasonExcludedRange, []Match{{Key: KeyIPv4Dst, Set: setExclude4}}, accept},
		{"excluded IPv6 range", ReasonExcludedRange, []Match{{Key: KeyIPv6Dst, Set: setExclude6}}, accept},
	}}
}

// zoneChain must see every packet of captured DNS, in both directions, before
// conntrack does. The answers come first: the proxy that sends them is exempt.
func zoneChain(c Config) Chain {
	zone := Action{Kind: ActionZone}
	toLo := Match{Key: KeyLoopback}
	return Chain{Name: chainZone, Hook: &Hook{"filter", priorityRaw}, Rules: []Rule{
		{"UDP DNS answer", ReasonDNS, []Match{toLo, {Key: KeyUDPSrcPort, Port: c.DNSPort}}, zone},
		{"TCP DNS answer", ReasonDNS, []Match{toLo, {Key: KeyTCPSrcPort, Port: c.DNSPort}}, zone},
		jumpDirect(),
		{"UDP DNS over IPv4", ReasonDNS, []Match{{Key: KeyUDPPort, Port: portDNS}, {Key: KeyIPv4Dst, Set: setDNS4}}, zone},
		{"UDP DNS over IPv6", ReasonDNS, []Match{{Key: KeyUDPPort, Port: portDNS}, {Key: KeyIPv6Dst, Set: setDNS6}}, zone},
		{"TCP DNS over IPv4", ReasonDNS, []Match{{Key: KeyTCPPort, Port: portDNS}, {Key: KeyIPv4Dst, Set: setDNS4}}, zone},
		{"TCP DNS over IPv6", ReasonDNS, []Match{{Key: KeyTCPPort, Port: portDNS}, {Key: KeyIPv6Dst, Set: setDNS6}}, zone},
	}}
}

// natChain redirects SYNs only: in a namespace that had no conntrack, connections
// older than the rules look new to it in mid-stream, and would be reset.
func natChain(c Config) Chain {
	syn := Match{Key: KeySYN}
	toProxy := Action{Kind: ActionRedirect, Port: c.OutboundPort}
	chain := Chain{Name: chainNAT, Hook: &Hook{"nat", priorityDstNAT}, Rules: []Rule{jumpDirect()}}
	if c.DNSCapture {
		toDNS := Action{Kind: ActionRedirect, Port: c.DNSPort}
		chain.Rules = append(chain.Rules,
			Rule{"UDP DNS over IPv4", ReasonDNS, []Match{{Key: KeyUDPPort, Port: portDNS}, {Key: KeyIPv4Dst, Set: setDNS4}}, toDNS},
			Rule{"UDP DNS over IPv6", ReasonDNS, []Match{{Key: KeyUDPPort, Port: portDNS}, {Key: KeyIPv6Dst, Set: setDNS6}}, toDNS},
			Rule{"TCP DNS over IPv4", ReasonDNS, []Match{syn, {Key: KeyTCPPort, Port: portDNS}, {Key: KeyIPv4Dst, Set: setDNS4}}, toDNS},
			Rule{"TCP DNS over IPv6", ReasonDNS, []Match{syn, {Key: KeyTCPPort, Port: portDNS}, {Key: KeyIPv6Dst, Set: setDNS6}}, toDNS})
	}
	chain.Rules = append(chain.Rules, localRules()...)
	chain.Rules = append(chain.Rules,
		Rule{"included port", ReasonIncludedPort, []Match{syn, {Key: KeyTCPPort, Set: setIncludePorts}}, toProxy},
		Rule{"included IPv4 range", ReasonIncludedRange, []Match{syn, {Key: KeyIPv4Dst, Set: setInclude4}}, toProxy},
		Rule{"included IPv6 range", ReasonIncludedRange, []Match{syn, {Key: KeyIPv6Dst, Set: setInclude6}}, toProxy})
	return chain
}

// filterChain stands after the redirects, whose packets it knows by conntrack:
// the outgoing interface it sees is still the one before the redirect.
func filterChain(c Config) Chain {
	accept := Action{Kind: ActionAccept}
	out := []Rule{
		{"ongoing", ReasonHousekeeping, []Match{{Key: KeyOngoing}}, accept},
		{"redirected", ReasonDNS, []Match{{Key: KeyRewritten}}, accept},
		jumpDirect(),
	}
	if c.FailurePolicy == FailureBlock && c.DNSCapture {
		out = append(out, dnsGuard()...)
	}
	out = append(out, localRules()...)
	if c.FailurePolicy == FailureBlock {
		out = append(out, guard()...)
	}
	if c.NonTCP == NonTCPReject {
		out = append(out, nonTCPRules()...)
	}
	return Chain{Name: chainFilter, Hook: &Hook{"filter", priorityFilter}, Rules: out}
}

// guard is the second layer: the redirects once more, as refusals. What reaches
// it has lost its redirect. Like them it looks at SYNs only, so connections older
// than the rules live on.
func guard() []Rule {
	syn, reset := Match{Key: KeySYN}, Action{Kind: ActionReset}
	return []Rule{
		{"guard of included ports", ReasonIncludedPort, []Match{syn, {Key: KeyTCPPort, Set: setIncludePorts}}, reset},
		{"guard of included IPv4 ranges", ReasonIncludedRange, []Match{syn, {Key: KeyIPv4Dst, Set: setInclude4}}, reset},
		{"guard of included IPv6 ranges", ReasonIncludedRange, []Match{syn, {Key: KeyIPv6Dst, Set: setInclude6}}, reset},
	}
}

func dnsGuard() []Rule {
	syn, reset, reject := Match{Key: KeySYN}, Action{Kind: ActionReset}, Action{Kind: ActionReject}
	return []Rule{
		{"guard of UDP DNS over IPv4", ReasonDNS, []Match{{Key: KeyUDPPort, Port: portDNS}, {Key: KeyIPv4Dst, Set: setDNS4}}, reject},
		{"guard of UDP DNS over IPv6", ReasonDNS, []Match{{Key: KeyUDPPort, Port: portDNS}, {Key: KeyIPv6Dst, Set: setDNS6}}, reject},
		{"guard of TCP DNS over IPv4", ReasonDNS, []Match{syn, {Key: KeyTCPPort, Port: portDNS}, {Key: KeyIPv4Dst, Set: setDNS4}}, reset},
		{"guard of TCP DNS over IPv6", ReasonDNS, []Match{syn, {Key: KeyTCPPort, Port: portDNS}, {Key: KeyIPv6Dst, Set: setDNS6}}, reset},
	}
}

// nonTCPRules refuse what the proxy cannot carry, save what a network needs to
// work at all.
func nonTCPRules() []Rule {
	accept, reject := Action{Kind: ActionAccept}, Action{Kind: ActionReject}
	return []Rule{
		{"TCP", ReasonHousekeeping, []Match{{Key: KeyTCP}}, accept},
		{"DNS", ReasonHousekeeping, []Match{{Key: KeyUDPPort, Port: portDNS}}, accept},
		{"DHCP", ReasonHousekeeping, []Match{{Key: KeyIPv4Dst}, {Key: KeyUDPSrcPort, Port: portDHCPClient}, {Key: KeyUDPPort, Port: portDHCPServer}}, accept},
		{"DHCPv6", ReasonHousekeeping, []Match{{Key: KeyIPv6Dst}, {Key: KeyUDPSrcPort, Port: portDHCPv6Client}, {Key: KeyUDPPort, Port: portDHCPv6Server}}, accept},
		{"IGMP", ReasonHousekeeping, []Match{{Key: KeyIGMP}}, accept},
		{"ICMP other than echo", ReasonHousekeeping, []Match{{Key: KeyICMPOther}}, accept},
		{"ICMPv6 other than echo", ReasonHousekeeping, []Match{{Key: KeyICMPv6Other}}, accept},
		{"non-TCP to an IPv4 range", ReasonNonTCP, []Match{{Key: KeyIPv4Dst, Set: setInclude4}}, reject},
		{"non-TCP to an IPv6 range", ReasonNonTCP, []Match{{Key: KeyIPv6Dst, Set: setInclude6}}, reject},
	}
}

func localRules() []Rule {
	accept := Action{Kind: ActionAccept}
	return []Rule{
		{"local IPv4", ReasonLocal, []Match{{Key: KeyLoopback}, {Key: KeyIPv4Dst, Set: setNamed4, Not: true}}, accept},
		{"local IPv6", ReasonLocal, []Match{{Key: KeyLoopback}, {Key: KeyIPv6Dst, Set: setNamed6, Not: true}}, accept},
	}
}

func jumpDirect() Rule {
	return Rule{Name: "pass", Reason: ReasonExempt, Action: Action{Kind: ActionJump, Chain: chainDirect}}
}
