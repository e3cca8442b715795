package rules

// Verdict is what happens to a flow.
type Verdict uint8

const (
	Direct  Verdict = iota // goes where the application sent it
	ToProxy                // redirected to Config.OutboundPort
	ToDNS                  // redirected to Config.DNSPort
	Refused                // rejected at once
)

func (v Verdict) String() string {
	return [...]string{"direct", "to the proxy", "to the DNS proxy", "refused"}[v]
}

// Reason is the line of the precedence list that decided.
type Reason uint8

const (
	ReasonExempt Reason = iota
	ReasonExcludedInterface
	ReasonExcludedPort
	ReasonExcludedRange
	ReasonDNS
	ReasonLocal
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
// capture among them; DNS comes before loopback since resolv.conf often names
// 127.0.0.53.
func Precedence() []Line {
	return []Line{
		{ReasonExempt, "exempt", "sent by an exempt uid or gid, or with the exempt mark: the proxy's own traffic", Direct},
		{ReasonExcludedInterface, "excluded interface", "leaves by one of excludeInterfaces", Direct},
		{ReasonExcludedPort, "excluded port", "TCP or UDP to one of excludeOutboundPorts", Direct},
		{ReasonExcludedRange, "excluded range", "to an address in excludeIPRanges", Direct},
		{ReasonDNS, "DNS", "TCP or UDP to port 53 of one of dnsServers, when dnsCapture is on", ToDNS},
		{ReasonLocal, "local", "leaves by lo (loopback and the namespace's own addresses), unless includeIPRanges names that loopback range or that single address", Direct},
		{ReasonIncludedPort, "included port", "TCP to one of includeOutboundPorts", ToProxy},
		{ReasonIncludedRange, "included range", "TCP to an address in includeIPRanges", ToProxy},
		{ReasonHousekeeping, "housekeeping", "other TCP, UDP to port 53, DHCP, IGMP, ICMP other than echo (neighbour discovery, path MTU, MLD), replies", Direct},
		{ReasonNonTCP, "non-TCP", "anything else to an address in includeIPRanges, when nonTCP is reject", Refused},
		{ReasonOther, "other", "everything else", Direct},
	}
}
