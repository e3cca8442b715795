package rules

import (
	"slices"
	"strconv"
	"sync"

	"github.com/sluice-cni/sluice/cidr"
)

// Field describes one field of Config, for documentation, flags and annotations.
type Field struct {
	Name       string // the JSON name
	Annotation string // the pod annotation that sets it
	Default    string // as text, the form Set takes
	Meaning    string // one sentence
	Example    string // a value that Set accepts
	List       bool   // may be a JSON array
	set        func(*Config, value) ([]string, error)
	get        func(Config) string
}

// ownAnnotations is the prefix of the annotations Istio has no name for.
const ownAnnotations = "sluice.dev/"

// istioAnnotations are the names people know, where Istio has one for the same
// thing.
var istioAnnotations = map[string]string{
	"includeIPRanges":      "traffic.sidecar.istio.io/includeOutboundIPRanges",
	"excludeIPRanges":      "traffic.sidecar.istio.io/excludeOutboundIPRanges",
	"includeOutboundPorts": "traffic.sidecar.istio.io/includeOutboundPorts",
	"excludeOutboundPorts": "traffic.sidecar.istio.io/excludeOutboundPorts",
	"includeInboundPorts":  "traffic.sidecar.istio.io/includeInboundPorts",
	"excludeInboundPorts":  "traffic.sidecar.istio.io/excludeInboundPorts",
	"excludeInterfaces":    "traffic.sidecar.istio.io/excludeInterfaces",
	"rerouteInterfaces":    "istio.io/reroute-virtual-interfaces",
}

// Fields lists every field of Config in the order of the documentation.
func Fields() []Field { return slices.Clone(fields()) }

// fields are made once: an agent parses, prints and hashes a Config for every pod.
var fields = sync.OnceValue(func() []Field {
	out := slices.Concat(rangeFields(), ownerFields(), inboundFields(), proxyFields(), policyFields())
	defaults := Default()
	for i := range out {
		out[i].Default = out[i].get(defaults)
		out[i].Annotation = ownAnnotations + out[i].Name
		if known := istioAnnotations[out[i].Name]; known != "" {
			out[i].Annotation = known
		}
	}
	return out
})

// Value is the field's value in c, as the text that Config.Set takes.
func (f Field) Value(c Config) string { return f.get(c) }

func rangeFields() []Field {
	return []Field{
		listField("includeIPRanges", "TCP to these ranges goes to the proxy; * is every address, an empty list is none, auto is the cluster's ranges as 'sluice cidr --write' found them.", "10.0.0.0/8,2001:db8::/32",
			rangesOrAuto()),
		listField("excludeIPRanges", "Nothing to these ranges is captured, DNS neither; they win over every include.", "10.96.0.0/12",
			ranges(func(c *Config) *cidr.List { return &c.ExcludeIPRanges })),
		listField("includeOutboundPorts", "TCP to these ports goes to the proxy whatever the address; * is every port.", "80,443,8000-8999",
			ports(func(c *Config) *Ports { return &c.IncludeOutboundPorts })),
		listField("excludeOutboundPorts", "TCP and UDP to these ports is not captured; they win over every include.", "22,6443",
			ports(func(c *Config) *Ports { return &c.ExcludeOutboundPorts })),
		listField("excludeInterfaces", "Nothing that leaves or arrives by these interfaces is captured.", "net1",
			interfaces(func(c *Config) *Interfaces { return &c.ExcludeInterfaces })),
		listField("rerouteInterfaces", "What arrives by these interfaces is captured as if the namespace had sent it: a virtual machine behind a tap or bridge, say.", "k6t-eth0",
			interfaces(func(c *Config) *Interfaces { return &c.RerouteInterfaces })),
	}
}

func ownerFields() []Field {
	return []Field{
		scalarField("exemption", "How the proxy's own connections are known: uid (exemptUIDs and exemptGIDs), mark (exemptMark) or cgroup (exemptCgroups).", "cgroup",
			oneOf(func(c *Config) *Exemption { return &c.Exemption }, ExemptByUID, ExemptByMark, ExemptByCgroup)),
		listField("exemptUIDs", "Nothing from processes of these users is captured; an empty list exempts nobody.", "1337",
			ids(func(c *Config) *IDs { return &c.ExemptUIDs })),
		listField("exemptGIDs", "Nothing from processes of these groups is captured; an empty list exempts nobody.", "1337",
			ids(func(c *Config) *IDs { return &c.ExemptGIDs })),
		scalarField("exemptMark", "Nothing with this packet mark is captured, when exemption is mark; 0 is no mark.", "0x539",
			setter{setMark, func(c Config) string { return formatMark(c.ExemptMark) }}),
		listField("exemptCgroups", "Nothing from sockets made in these cgroups (version 2 paths) or beneath them is captured, when exemption is cgroup.", "/kubepods.slice/agent",
			access(func(c *Config) *Cgroups { return &c.ExemptCgroups }, parseCgroups, Cgroups.String)),
		listField("ownerGroupsInclude", "Only what processes of these groups send is captured; * is every group, an empty list is none.", "1000,2000",
			access(func(c *Config) *Groups { return &c.OwnerGroupsInclude }, parseGroups, Groups.String)),
		listField("ownerGroupsExclude", "Nothing that processes of these groups send is captured; they win over ownerGroupsInclude.", "3000",
			ids(func(c *Config) *IDs { return &c.OwnerGroupsExclude })),
	}
}

func inboundFields() []Field {
	return []Field{
		listField("includeInboundPorts", "TCP that arrives for these ports goes to inboundPort; * is every port.", "8080,9000-9099",
			ports(func(c *Config) *Ports { return &c.IncludeInboundPorts })),
		listField("excludeInboundPorts", "TCP that arrives for these ports is not captured; they win over includeInboundPorts.", "9090",
			ports(func(c *Config) *Ports { return &c.ExcludeInboundPorts })),
		scalarField("inboundPort", "Where captured inbound TCP is received, on the address of the interface it arrived by.", "15006",
			port(func(c *Config) *uint16 { return &c.InboundPort })),
	}
}

func proxyFields() []Field {
	return []Field{
		scalarField("outboundPort", "Where the proxy receives captured TCP, on the loopback address.", "15001",
			port(func(c *Config) *uint16 { return &c.OutboundPort })),
		scalarField("dnsCapture", "Whether DNS (UDP and TCP to port 53) goes to dnsPort, and TCP to the DNS proxy's virtual addresses to outboundPort.", "true",
			setter{setDNSCapture, func(c Config) string { return strconv.FormatBool(c.DNSCapture) }}),
		scalarField("dnsPort", "Where captured DNS is received, UDP and TCP, on the loopback address.", "15053",
			port(func(c *Config) *uint16 { return &c.DNSPort })),
		listField("dnsServers", "DNS to these addresses is captured, when dnsCapture is on; * is every server.", "10.96.0.10,127.0.0.53",
			ranges(func(c *Config) *cidr.List { return &c.DNSServers })),
	}
}

func policyFields() []Field {
	return []Field{
		scalarField("nonTCP", "What happens to UDP other than DNS, SCTP, ICMP echo and the like in the included ranges: reject or allow.", "allow",
			oneOf(func(c *Config) *NonTCP { return &c.NonTCP }, NonTCPReject, NonTCPAllow)),
		scalarField("failurePolicy", "What becomes of a new connection that should have been redirected and was not, since the rule is gone: block refuses it, bypass lets it go direct.", "bypass",
			oneOf(func(c *Config) *FailurePolicy { return &c.FailurePolicy }, FailureBlock, FailureBypass)),
		scalarField("backend", "What the rules are put into: auto (nft where the kernel has it, else iptables), nft, iptables-nft or iptables-legacy.", "nft",
			oneOf(func(c *Config) *Backend { return &c.Backend }, BackendAuto, BackendNFT, BackendIPTablesNFT, BackendIPTablesLegacy)),
	}
}
