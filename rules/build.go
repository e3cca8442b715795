package rules

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Names of the plan's sets and chains. Family-specific ones come in pairs.
const (
	setExemptUIDs    = "exempt_uids"
	setExemptGIDs    = "exempt_gids"
	setExemptMarks   = "exempt_marks"
	setExemptCgroups = "exempt_cgroups"
	setIncludeGroups = "include_groups"
	setExcludeGroups = "exclude_groups"
	setInterfaces    = "exclude_interfaces"
	setReroute       = "reroute_interfaces"
	setExcludePorts  = "exclude_ports"
	setIncludePorts  = "include_ports"
	setExcludeInPort = "exclude_inbound_ports"
	setIncludeInPort = "include_inbound_ports"
	setExclude4      = "exclude_ipv4"
	setExclude6      = "exclude_ipv6"
	setInclude4      = "include_ipv4"
	setInclude6      = "include_ipv6"
	setNamed4        = "named_ipv4"
	setNamed6        = "named_ipv6"
	setDNS4          = "dns_ipv4"
	setDNS6          = "dns_ipv6"

	// SetHeartbeat lets redirects happen as long as it has elements (Plan.Gate).
	SetHeartbeat = "heartbeat"
	// SetMarkAlarm suspends the exemption by mark as long as it has elements.
	SetMarkAlarm = "mark_alarm"
	// SetAgentCgroups and ChainAgent know the node agents' sockets (NodeMode).
	SetAgentCgroups = "agent_cgroups"
	ChainAgent      = "agent"

	chainDirect     = "direct"
	chainExcluded   = "excluded"
	chainZone       = "output_zone"
	chainMarks      = "output_marks"
	chainNAT        = "output_nat"
	chainFilter     = "output_filter"
	chainBound      = "postrouting_filter"
	chainPrerouting = "prerouting_nat"
	chainReroute    = "reroute_nat"
	chainForward    = "forward_filter"
)

// Priorities in a hook: before conntrack, after it, where destinations are
// rewritten, and after that.
const (
	priorityRaw    = -300
	priorityMangle = -150
	priorityDstNAT = -100
	priorityFilter = 0
)

// An Option is something about the namespace, not the configuration, that a plan
// depends on.
type Option func(*Plan)

// Running makes a plan for a namespace that has connections already: the second
// layer looks at connections that begin only.
func Running() Option { return func(p *Plan) { p.Running = true } }

// Gated makes a plan that captures only as long as somebody says that there is a
// proxy, at least once in the given time. It needs failurePolicy bypass.
func Gated(timeout time.Duration) Option { return func(p *Plan) { p.Gate = timeout } }

// Silent makes a plan whose applying is no heartbeat, for whoever is not the proxy and
// does not know of one: a fresh namespace goes direct until somebody beats, and where
// heartbeats come already they go on.
func Silent() Option { return func(p *Plan) { p.Silent = true } }

// NodeMode makes a plan for a pod whose proxy is the node's agent, outside of it.
// Whoever applies it first cannot know by what the agent's sockets are told from the
// pod's: so the chain ChainAgent and the set SetAgentCgroups are made empty, and only
// agents write them, by Exempting and nft.Exempt. Nothing of the configuration
// exempts by uid, gid or cgroup; exemption mark stays, for where the kernel knows no
// cgroups of sockets.
func NodeMode() Option { return func(p *Plan) { p.Node = true } }

// FromAuto makes a plan that remembers that its ranges stand for includeIPRanges
// auto, so that whoever follows the cluster's ranges knows that it may replace them.
func FromAuto() Option { return func(p *Plan) { p.Auto = true } }

// Exempting makes a plan whose agents are these and no others. Without it, whoever is
// exempt stays so.
func Exempting(a Agents) Option {
	return func(p *Plan) {
		a := a.canonical()
		p.Agents = &a
	}
}

// NewPlan lays a valid Config out as sets and chains, in the order of Precedence:
//
//	agent           lets the node agents' sockets pass (NodeMode)
//	excluded        ports and ranges that are never captured
//	direct          the lines that let a flow pass before anything is captured
//	output_zone     puts captured DNS in its conntrack zone (dnsCapture)
//	output_marks    notices who tries marks out (exemption mark)
//	output_nat      redirects: DNS, then local stays, then included ports and ranges
//	postrouting_filter  drops what a redirect has turned to loopback and leaves all the same
//	output_filter   refuses what was not redirected and should have been
//	                (failurePolicy block), and what cannot be (nonTCP reject)
//	prerouting_nat  redirects what arrives (includeInboundPorts), and
//	reroute_nat     what arrives to go on (rerouteInterfaces)
//	forward_filter  output_filter for the latter
//	frames          the same for packet sockets, beneath all hooks (failurePolicy block)
func NewPlan(c Config, options ...Option) (Plan, error) {
	err := errors.Join(c.Validate(), c.unresolved())
	p := Plan{Config: c}
	for _, o := range options {
		o(&p)
	}
	err = errors.Join(err, p.validateNodeMode())
	if p.Gate != 0 && (c.FailurePolicy != FailureBypass || p.Gate < time.Millisecond) {
		err = errors.Join(err, fmt.Errorf("a heartbeat of %s: needs failurePolicy bypass and at least a millisecond", p.Gate))
	}
	if err != nil {
		return Plan{}, fmt.Errorf("the configuration cannot be applied: %w", err)
	}
	canonical := c.canonical()
	b := builder{canonical, p.Running, p.Gate > 0, p.Silent, p.Node, destinationSets(canonical)}
	p.Hash, p.Sets, p.Chains, p.Frames = b.c.Hash(), b.sets(), b.chains(), b.frames()
	if p.Node {
		p.Sets, p.Chains = append(p.Sets, p.AgentSet()), slices.Insert(p.Chains, 0, p.AgentChain())
	}
	return p, nil
}

// builder makes the parts of a plan.
type builder struct {
	c       Config
	running bool
	gated   bool
	silent  bool
	node    bool
	// destinations are in two tables, and costly to make where there are many.
	destinations []Set
}

func (b builder) chains() []Chain {
	c := b.c
	out := []Chain{excludedChain(), b.directChain()}
	if c.DNSCapture {
		out = append(out, b.zoneChain())
	}
	if c.Exemption == ExemptByMark {
		out = append(out, b.marksChain())
	}
	out = append(out, b.natChain(), boundChain())
	if c.NonTCP == NonTCPReject || c.FailurePolicy == FailureBlock {
		out = append(out, b.filterChain())
	}
	if len(c.RerouteInterfaces) > 0 {
		out = append(out, b.rerouteChain())
		if c.NonTCP == NonTCPReject || c.FailurePolicy == FailureBlock {
			out = append(out, b.forwardChain())
		}
	}
	if len(c.RerouteInterfaces) > 0 || len(c.IncludeInboundPorts) > 0 {
		out = append(out, b.preroutingChain())
	}
	return out
}

func (b builder) sets() []Set {
	c := b.c
	named := namedAddresses(c)
	out := append(slices.Clone(b.destinations),
		Set{Name: setInterfaces, Type: SetInterface, Interfaces: c.ExcludeInterfaces},
		Set{Name: setNamed4, Type: SetIPv4, Addresses: named.Ranges4()},
		Set{Name: setNamed6, Type: SetIPv6, Addresses: named.Ranges6()},
		Set{Name: setExcludeGroups, Type: SetGID, Numbers: c.OwnerGroupsExclude})
	if !c.OwnerGroupsInclude.All {
		out = append(out, Set{Name: setIncludeGroups, Type: SetGID, Numbers: c.OwnerGroupsInclude.IDs})
	}
	out = append(out, b.exemptionSets()...)
	if len(c.RerouteInterfaces) > 0 {
		out = append(out, Set{Name: setReroute, Type: SetInterface, Interfaces: c.RerouteInterfaces})
	}
	if len(c.IncludeInboundPorts) > 0 {
		out = append(out,
			Set{Name: setExcludeInPort, Type: SetPort, Ports: c.ExcludeInboundPorts},
			Set{Name: setIncludeInPort, Type: SetPort, Ports: c.IncludeInboundPorts})
	}
	if b.gated {
		out = append(out, Set{Name: SetHeartbeat, Type: SetFamily, Dynamic: true, Open: b.silent})
	}
	return out
}

// destinationSets are those that say where a packet goes to.
func destinationSets(c Config) []Set {
	included := c.included()
	out := []Set{
		{Name: setExcludePorts, Type: SetPort, Ports: c.ExcludeOutboundPorts},
		{Name: setIncludePorts, Type: SetPort, Ports: c.IncludeOutboundPorts},
		{Name: setExclude4, Type: SetIPv4, Addresses: c.ExcludeIPRanges.Ranges4()},
		{Name: setExclude6, Type: SetIPv6, Addresses: c.ExcludeIPRanges.Ranges6()},
		{Name: setInclude4, Type: SetIPv4, Addresses: included.Ranges4()},
		{Name: setInclude6, Type: SetIPv6, Addresses: included.Ranges6()},
	}
	if c.DNSCapture {
		out = append(out,
			Set{Name: setDNS4, Type: SetIPv4, Addresses: c.DNSServers.Ranges4()},
			Set{Name: setDNS6, Type: SetIPv6, Addresses: c.DNSServers.Ranges6()})
	}
	return out
}

func (b builder) exemptionSets() []Set {
	c := b.c
	switch c.Exemption {
	case ExemptByMark:
		return []Set{
			{Name: setExemptMarks, Type: SetMark, Numbers: []uint32{c.ExemptMark}},
			{Name: SetMarkAlarm, Type: SetFamily, Dynamic: true},
		}
	case ExemptByCgroup:
		return []Set{{Name: setExemptCgroups, Type: SetCgroup, Cgroups: c.ExemptCgroups}}
	}
	if b.node {
		return nil // no process of the pod is the proxy
	}
	return []Set{
		{Name: setExemptUIDs, Type: SetUID, Numbers: c.ExemptUIDs},
		{Name: setExemptGIDs, Type: SetGID, Numbers: c.ExemptGIDs},
	}
}

func (b builder) directChain() Chain {
	accept := Action{Kind: ActionAccept}
	out := b.exemptRules()
	if b.node {
		out = append([]Rule{jump("agent", ReasonAgent, ChainAgent)}, out...)
	}
	out = append(out,
		Rule{"excluded interface", ReasonExcludedInterface, []Match{{Key: KeyInterface, Set: setInterfaces}}, accept},
		Rule{"excluded group", ReasonOwnerGroup, []Match{{Key: KeyGID, Set: setExcludeGroups}}, accept})
	if !b.c.OwnerGroupsInclude.All {
		out = append(out, Rule{"group not included", ReasonOwnerGroup, []Match{{Key: KeyGID, Set: setIncludeGroups, Not: true}}, accept})
	}
	return Chain{Name: chainDirect, Rules: append(out, jump("excluded", ReasonExcludedPort, chainExcluded))}
}

// exemptRules know the proxy. Cgroups at different depths need a rule each, since
// a rule looks at one level of the hierarchy; their set is one.
func (b builder) exemptRules() []Rule {
	accept := Action{Kind: ActionAccept}
	switch b.c.Exemption {
	case ExemptByMark:
		return []Rule{{"exempt mark", ReasonExempt, []Match{{Key: KeyMark, Set: setExemptMarks}, {Key: KeyFamily, Set: SetMarkAlarm, Not: true}}, accept}}
	case ExemptByCgroup:
		var levels []int
		for _, path := range b.c.ExemptCgroups {
			levels = append(levels, CgroupDepth(path))
		}
		var out []Rule
		for _, level := range sortedSet(levels) {
			out = append(out, Rule{"exempt cgroup at level " + strconv.Itoa(level), ReasonExempt, []Match{{Key: KeyCgroup, Set: setExemptCgroups, Level: level}}, accept})
		}
		return out
	}
	if b.node {
		return nil
	}
	return []Rule{
		{"exempt uid", ReasonExempt, []Match{{Key: KeyUID, Set: setExemptUIDs}}, accept},
		{"exempt gid", ReasonExempt, []Match{{Key: KeyGID, Set: setExemptGIDs}}, accept},
	}
}

func excludedChain() Chain {
	accept := Action{Kind: ActionAccept}
	return Chain{Name: chainExcluded, Rules: []Rule{
		{"excluded TCP port", ReasonExcludedPort, []Match{{Key: KeyTCPPort, Set: setExcludePorts}}, accept},
		{"excluded UDP port", ReasonExcludedPort, []Match{{Key: KeyUDPPort, Set: setExcludePorts}}, accept},
		{"excluded IPv4 range", ReasonExcludedRange, []Match{{Key: KeyIPv4Dst, Set: setExclude4}}, accept},
		{"excluded IPv6 range", ReasonExcludedRange, []Match{{Key: KeyIPv6Dst, Set: setExclude6}}, accept},
	}}
}

// entry is how the walk of a hook begins: nothing happens without a heartbeat.
func (b builder) entry(rules ...Rule) []Rule {
	if !b.gated {
		return slices.Clip(rules)
	}
	gate := Rule{"no heartbeat", ReasonExempt, []Match{{Key: KeyFamily, Set: SetHeartbeat, Not: true}}, Action{Kind: ActionAccept}}
	return append([]Rule{gate}, rules...)
}

func jump(name string, reason Reason, chain string) Rule {
	return Rule{Name: name, Reason: reason, Action: Action{Kind: ActionJump, Chain: chain}}
}

func jumpDirect() Rule { return jump("pass", ReasonExempt, chainDirect) }
