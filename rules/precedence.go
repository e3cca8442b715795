package rules

// Verdict is what happens to a flow.
type Verdict uint8

const (
	Direct    Verdict = iota // goes where it was sent
	ToProxy                  // redirected to Config.OutboundPort
	ToDNS                    // redirected to Config.DNSPort
	Refused                  // rejected at once
	ToInbound                // redirected to Config.InboundPort
)

func (v Verdict) String() string {
	return [...]string{"direct", "to the proxy", "to the DNS proxy", "refused", "to the inbound proxy"}[v]
}

// Reason is the line of the precedence list that decided.
type Reason uint8

const (
	ReasonAgent Reason = iota
	ReasonExempt
	ReasonExcludedInterface
	ReasonOwnerGroup
	ReasonExcludedPort
	ReasonExcludedRange
	ReasonDNS
	ReasonLocal
	ReasonExcludedInboundPort
	ReasonIncludedInboundPort
	ReasonInbound
	ReasonIncludedPort
	ReasonIncludedRange
	ReasonHousekeeping
	ReasonNonTCP
	ReasonOther
)

func (r Reason) String() string { return Precedence()[r].Name }

// Line is one line of the precedence list.
type Line struct {
	Reason  Reason
	Name    string
	Matches string // which flows, in words
	Verdict Verdict
}

// Precedence is the order in which a flow is judged: the first line that matches
// decides. Decide walks it, NewPlan lays its rules out in it, and
// docs/configuration.md prints it. Excludes come before every include, DNS
// capture and owner groups among them; DNS comes before loopback since
// resolv.conf often names 127.0.0.53. What arrives by one of rerouteInterfaces is
// sent by the namespace in the sense of this list, but has no owner.
func Precedence() []Line {
	return []Line{
		{ReasonAgent, "agent", "sent by the node's agent, where that is the pod's proxy (`sluice agent`)", Direct},
		{ReasonExempt, "exempt", "sent by an exempt uid or gid, from an exempt cgroup, or with the exempt mark: the proxy's own traffic", Direct},
		{ReasonExcludedInterface, "excluded interface", "leaves or arrives by one of excludeInterfaces", Direct},
		{ReasonOwnerGroup, "owner group", "sent by a process whose group is in ownerGroupsExclude or not in ownerGroupsInclude (supplementary groups do not count)", Direct},
		{ReasonExcludedPort, "excluded port", "TCP or UDP sent to one of excludeOutboundPorts", Direct},
		{ReasonExcludedRange, "excluded range", "sent to an address in excludeIPRanges", Direct},
		{ReasonDNS, "DNS", "TCP or UDP sent to port 53 of one of dnsServers, when dnsCapture is on", ToDNS},
		{ReasonLocal, "local", "stays in the namespace (loopback and its own addresses), unless a process sent it and includeIPRanges names that loopback range or that single address", Direct},
		{ReasonExcludedInboundPort, "excluded inbound port", "TCP that arrives for one of excludeInboundPorts", Direct},
		{ReasonIncludedInboundPort, "included inbound port", "TCP that arrives for one of includeInboundPorts", ToInbound},
		{ReasonInbound, "inbound", "anything else that arrives", Direct},
		{ReasonIncludedPort, "included port", "TCP sent to one of includeOutboundPorts", ToProxy},
		{ReasonIncludedRange, "included range", "TCP sent to an address in includeIPRanges, or in the virtual ranges when dnsCapture is on", ToProxy},
		{ReasonHousekeeping, "housekeeping", "other TCP, UDP to port 53, DHCP, IGMP, ICMP other than echo (neighbour discovery, path MTU, MLD), replies", Direct},
		{ReasonNonTCP, "non-TCP", "anything else sent to such an address, when nonTCP is reject", Refused},
		{ReasonOther, "other", "everything else", Direct},
	}
}
