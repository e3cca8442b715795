package rulestest

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/rules"
	"go4.org/netipx"
)

// packet is the first packet of a flow on its way through the output hooks.
type packet struct {
	rules.Flow
	redirected bool
}

// Walk sends a flow's first packet through a plan rule by rule, the way the kernel
// would: the plan's meaning without a kernel, cheap enough to try often.
func Walk(p rules.Plan, c rules.Config, f rules.Flow) rules.Verdict {
	pkt := &packet{Flow: f}
	verdict := rules.Direct
	hooks := []string{"output_nat", "output_filter"}
	switch {
	case f.InInterface != "" && f.OutInterface == "lo":
		hooks = []string{"prerouting_nat"}
	case f.InInterface != "":
		hooks = []string{"prerouting_nat", "forward_filter"}
	}
	for _, name := range hooks {
		action, ended := walkChain(p, name, pkt)
		switch {
		case !ended:
		case action.Kind == rules.ActionRedirect && action.Port == c.DNSPort && f.DstPort == 53 && c.DNSCapture:
			verdict = rules.ToDNS
		case action.Kind == rules.ActionRedirect && action.Port == c.InboundPort && f.InInterface != "":
			return rules.ToInbound
		case action.Kind == rules.ActionRedirect:
			verdict = rules.ToProxy
		case action.Kind == rules.ActionReject || action.Kind == rules.ActionReset || action.Kind == rules.ActionDrop:
			return rules.Refused
		}
		if ended && action.Kind == rules.ActionRedirect {
			if f.InInterface != "" {
				return verdict // it stays here
			}
			pkt.redirected, pkt.DstPort, pkt.Dst = true, action.Port, netip.MustParseAddr("127.0.0.1")
			if f.Dst.Is6() {
				pkt.Dst = netip.IPv6Loopback()
			}
		}
	}
	return verdict
}

func walkChain(p rules.Plan, name string, pkt *packet) (rules.Action, bool) {
	i := slices.IndexFunc(p.Chains, func(c rules.Chain) bool { return c.Name == name })
	if i < 0 {
		return rules.Action{}, false
	}
	for _, r := range p.Chains[i].Rules {
		if !slices.ContainsFunc(r.Matches, func(m rules.Match) bool { return !holds(p, m, pkt) }) {
			if r.Action.Kind != rules.ActionJump {
				return r.Action, true
			}
			if action, ended := walkChain(p, r.Action.Chain, pkt); ended {
				return action, true
			}
		}
	}
	return rules.Action{}, false
}

// ancestor is the cgroup above one, or itself, that is at a level.
func ancestor(cgroup string, level int) string {
	steps := strings.Split(cgroup, "/")
	if rules.CgroupDepth(cgroup) < level {
		return ""
	}
	return strings.Join(steps[:level+1], "/")
}

func holds(p rules.Plan, m rules.Match, pkt *packet) bool {
	i := slices.IndexFunc(p.Sets, func(s rules.Set) bool { return s.Name == m.Set })
	set := rules.Set{}
	if i >= 0 {
		set = p.Sets[i]
	}
	number := func(n uint32) bool { return slices.Contains(set.Numbers, n) }
	port := func(n uint16) bool { return m.Port == n || m.Set != "" && set.Ports.Contains(n) }
	address := func() bool {
		in := slices.ContainsFunc(set.Addresses, func(r netipx.IPRange) bool { return r.Contains(pkt.Dst) })
		return m.Set == "" || in != m.Not
	}
	switch m.Key {
	case rules.KeyUID:
		return pkt.InInterface == "" && number(pkt.UID)
	case rules.KeyGID:
		return pkt.InInterface == "" && number(pkt.GID) != m.Not
	case rules.KeyCgroup:
		if set.Name == rules.SetAgentCgroups {
			return pkt.InInterface == "" && pkt.Agent && len(set.IDs) > 0
		}
		return pkt.InInterface == "" && rules.Cgroups(set.Cgroups).Contain(ancestor(pkt.Cgroup, m.Level))
	case rules.KeyFamily:
		return m.Not // nobody rings the alarm here
	case rules.KeyInInterface:
		return slices.Contains(set.Interfaces, pkt.InInterface) != m.Not
	case rules.KeyLocalDst:
		return pkt.OutInterface == "lo"
	case rules.KeyNew:
		return true
	case rules.KeyMark:
		return number(pkt.Mark) != m.Not
	case rules.KeyInterface:
		return slices.Contains(set.Interfaces, pkt.OutInterface)
	case rules.KeyLoopback:
		return pkt.OutInterface == "lo"
	case rules.KeyIPv4Dst:
		return pkt.Dst.Is4() && address()
	case rules.KeyIPv6Dst:
		return pkt.Dst.Is6() && address()
	case rules.KeyTCPPort:
		return pkt.Protocol == rules.TCP && port(pkt.DstPort)
	case rules.KeyUDPPort:
		return pkt.Protocol == rules.UDP && port(pkt.DstPort)
	case rules.KeyTCPSrcPort:
		return pkt.Protocol == rules.TCP && port(pkt.SrcPort)
	case rules.KeyUDPSrcPort:
		return pkt.Protocol == rules.UDP && port(pkt.SrcPort)
	case rules.KeyTCP, rules.KeySYN, rules.KeyFirst:
		return pkt.Protocol == rules.TCP
	case rules.KeyIGMP:
		return pkt.Protocol == rules.IGMP
	case rules.KeyICMPOther:
		return pkt.Protocol == rules.ICMP && pkt.ICMPType != 8
	case rules.KeyICMPv6Other:
		return pkt.Protocol == rules.ICMPv6 && pkt.ICMPType != 128
	case rules.KeyRewritten:
		return pkt.redirected
	}
	return false // KeyOngoing: it is the first packet
}
