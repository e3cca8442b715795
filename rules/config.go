// Package rules says which traffic of a network namespace goes to the proxy.
// Config is what an operator writes, Decide is what it means for one flow, Plan
// is the same meaning as a firewall's chains and sets, which a backend such as
// rules/nft puts into the kernel. Nothing here opens a socket or knows Kubernetes.
//
//	c := rules.Default()
//	warnings, err := c.Set("includeIPRanges", "10.0.0.0/8")
//	verdict, reason := rules.Decide(c, rules.Flow{Protocol: rules.TCP, Dst: addr, DstPort: 443})
//	plan, err := rules.NewPlan(c)
package rules

import "github.com/sluice-cni/sluice/cidr"

// Config is what to intercept, whatever brought it: CNI JSON, annotations or
// flags. Start from Default; the fields are documented by Fields.
type Config struct {
	IncludeIPRanges      cidr.List
	AutoRanges           bool // includeIPRanges is auto: see Resolve
	ExcludeIPRanges      cidr.List
	IncludeOutboundPorts Ports
	ExcludeOutboundPorts Ports
	ExcludeInterfaces    Interfaces
	RerouteInterfaces    Interfaces
	OwnerGroupsInclude   Groups
	OwnerGroupsExclude   IDs
	IncludeInboundPorts  Ports
	ExcludeInboundPorts  Ports
	Exemption            Exemption
	ExemptUIDs           IDs
	ExemptGIDs           IDs
	ExemptMark           uint32
	ExemptCgroups        Cgroups
	OutboundPort         uint16
	InboundPort          uint16
	DNSPort              uint16
	DNSCapture           bool
	DNSServers           cidr.List
	NonTCP               NonTCP
	FailurePolicy        FailurePolicy
	Backend              Backend
}

// NonTCP says what happens to traffic other than TCP and DNS inside the included
// ranges, which the proxy cannot carry.
type NonTCP string

const (
	// NonTCPReject refuses it at once, so that QUIC falls back to TCP.
	NonTCPReject NonTCP = "reject"
	// NonTCPAllow lets it go direct, past the proxy.
	NonTCPAllow NonTCP = "allow"
)

// FailurePolicy says what becomes of traffic that should have been redirected and
// was not, because somebody removed the rule that does it.
type FailurePolicy string

const (
	// FailureBlock refuses it, in a filter chain beneath the redirects.
	FailureBlock FailurePolicy = "block"
	// FailureBypass lets it go direct.
	FailureBypass FailurePolicy = "bypass"
)

// Exemption says how the proxy's own connections are told from the workload's.
type Exemption string

const (
	// ExemptByUID exempts the processes of ExemptUIDs and ExemptGIDs.
	ExemptByUID Exemption = "uid"
	// ExemptByMark exempts packets whose mark is ExemptMark.
	ExemptByMark Exemption = "mark"
	// ExemptByCgroup exempts sockets made in one of ExemptCgroups or beneath it.
	ExemptByCgroup Exemption = "cgroup"
)

// Backend is the part of the kernel that the rules are put into.
type Backend string

const (
	// BackendAuto is nft where the kernel has it, else iptables.
	BackendAuto Backend = "auto"
	// BackendNFT is nf_tables over netlink, without any program.
	BackendNFT Backend = "nft"
	// BackendIPTablesNFT is the iptables program that writes nf_tables.
	BackendIPTablesNFT Backend = "iptables-nft"
	// BackendIPTablesLegacy is the iptables program that writes ip_tables.
	BackendIPTablesLegacy Backend = "iptables-legacy"
)

// IPTables reports whether it is one of the programs, whose rules know no cgroups of
// sockets: in node mode they exempt a mark.
func (b Backend) IPTables() bool { return b == BackendIPTablesNFT || b == BackendIPTablesLegacy }

// Ports of the proxy, the same as Istio's.
const (
	DefaultOutboundPort = 15001
	DefaultInboundPort  = 15006
	DefaultDNSPort      = 15053
)

// Default captures TCP to every address, refuses what the proxy cannot carry,
// leaves DNS alone and exempts nobody: a proxy that dials from inside the
// namespace needs its uid, gid or mark named.
func Default() Config {
	return Config{
		IncludeIPRanges:    cidr.Everything(),
		OwnerGroupsInclude: EveryGroup(),
		OutboundPort:       DefaultOutboundPort,
		InboundPort:        DefaultInboundPort,
		DNSPort:            DefaultDNSPort,
		DNSServers:         cidr.Everything(),
		NonTCP:             NonTCPReject,
		FailurePolicy:      FailureBlock,
		Exemption:          ExemptByUID,
		Backend:            BackendAuto,
	}
}
