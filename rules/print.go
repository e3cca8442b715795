package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go4.org/netipx"
)

// String is the plan in nft's own words, sets by name and elements in order, the
// way `nft list ruleset` shows it.
func (p Plan) String() string {
	var b strings.Builder
	b.WriteString("table inet sluice {\n")
	b.WriteString(setsText(p.Sets))
	for _, c := range p.Chains {
		b.WriteString(c.String())
	}
	b.WriteString("}\n")
	if len(p.Frames.Rules) > 0 {
		b.WriteString("table netdev sluice {\n")
		b.WriteString(setsText(p.Frames.Sets))
		b.WriteString(Chain{Name: "frames", Rules: p.Frames.Rules}.String())
		b.WriteString("\t# for each interface:\n\tchain egress_IFACE {\n\t\ttype filter hook egress device IFACE priority 0; policy accept;\n\t\tjump frames\n\t}\n")
		b.WriteString("}\n")
	}
	return b.String()
}

func setsText(sets []Set) string {
	sets = slices.SortedFunc(slices.Values(sets), func(a, b Set) int { return strings.Compare(a.Name, b.Name) })
	return joinText(sets, Set.String, "")
}

func (s Set) String() string {
	out := fmt.Sprintf("\tset %s {\n\t\ttype %s\n", s.Name, s.Type)
	if s.Interval() {
		out += "\t\tflags interval\n"
	}
	if s.Dynamic {
		out += "\t\tflags dynamic,timeout\n"
	}
	if elements := s.Elements(); len(elements) > 0 {
		out += "\t\telements = { " + strings.Join(elements, ", ") + " }\n"
	}
	return out + "\t}\n"
}

// Elements are the set's elements as text, in order.
func (s Set) Elements() []string {
	var out []string
	for _, r := range s.Addresses {
		out = append(out, rangeText(r))
	}
	for _, p := range s.Ports {
		out = append(out, p.String())
	}
	for _, n := range s.Numbers {
		text := strconv.FormatUint(uint64(n), 10)
		if s.Type == SetMark {
			text = fmt.Sprintf("0x%08x", n)
		}
		out = append(out, text)
	}
	for _, name := range s.Interfaces {
		out = append(out, strconv.Quote(name))
	}
	for _, path := range s.Cgroups {
		out = append(out, strconv.Quote(path))
	}
	for _, id := range s.IDs {
		out = append(out, strconv.FormatUint(id, 10))
	}
	return out
}

func rangeText(r netipx.IPRange) string {
	if r.From() == r.To() {
		return r.From().String()
	}
	if p, ok := r.Prefix(); ok {
		return p.String()
	}
	return r.String()
}

func (c Chain) String() string {
	out := "\tchain " + c.Name + " {\n"
	if c.Hook != nil {
		out += fmt.Sprintf("\t\ttype %s hook %s priority %d; policy accept;\n", c.Hook.Type, c.Hook.Point, c.Hook.Priority)
	}
	for _, r := range c.Rules {
		out += "\t\t" + r.String() + "\n"
	}
	return out + "\t}\n"
}

func (r Rule) String() string {
	words := make([]string, 0, len(r.Matches)+2)
	for _, m := range r.Matches {
		words = append(words, m.String())
	}
	words = append(words, r.Action.String(), "comment", strconv.Quote(r.Name))
	return strings.Join(words, " ")
}

var keyWords = map[Key]string{
	KeyUID:         "meta skuid",
	KeyGID:         "meta skgid",
	KeyMark:        "meta mark",
	KeyInterface:   "oifname",
	KeyLoopback:    `oifname "lo"`,
	KeyIPv4Dst:     "ip daddr",
	KeyIPv6Dst:     "ip6 daddr",
	KeyTCPPort:     "tcp dport",
	KeyUDPPort:     "udp dport",
	KeyTCPSrcPort:  "tcp sport",
	KeyUDPSrcPort:  "udp sport",
	KeyTCP:         "meta l4proto tcp",
	KeySYN:         "tcp flags & (fin | syn | rst | ack) == syn",
	KeyIGMP:        "meta l4proto igmp",
	KeyICMPOther:   "icmp type != echo-request",
	KeyICMPv6Other: "icmpv6 type != echo-request",
	KeyOngoing:     "ct state established,related",
	KeyRewritten:   "ct status dnat",
	KeyNew:         "ct state new",
	KeyFirst:       "tcp flags & (fin | syn | rst | ack) == syn ct status & confirmed == 0",
	KeyInInterface: "iifname",
	KeyLocalDst:    "fib daddr type local",
	KeyForeignSrc:  "fib saddr type unicast",
	KeyLeaves:      `oifname != "lo"`,
	KeyToLoopback4: "ip daddr 127.0.0.0/8",
	KeyToLoopback6: "ip6 daddr ::1",
	KeyFamily:      "meta nfproto",
	KeyMarked:      "meta mark != 0",
	KeyRouted:      "meta rtclassid >= 0",
	KeyARP:         "ether type arp",
	KeyNotIP:       "ether type != { ip, ip6 }",
	KeyFrameIPv4:   "ether type ip ip daddr",
	KeyFrameIPv6:   "ether type ip6 ip6 daddr",
	KeyNotTCP:      "meta l4proto != tcp",
	KeyTransport:   "meta l4proto >= 0",
	KeyMadeHere:    "meta pkttype host",
	KeyBroadcast:   "ether type ip ip daddr 255.255.255.255",
}

func (m Match) String() string {
	out := keyWords[m.Key]
	if m.Key == KeyCgroup {
		out = fmt.Sprintf("socket cgroupv2 level %d", m.Level)
	}
	switch {
	case m.Set != "" && m.Not:
		out += " != @" + m.Set
	case m.Set != "":
		out += " @" + m.Set
	case m.Port != 0:
		out += " " + strconv.Itoa(int(m.Port))
	case m.Key == KeyIPv4Dst:
		out = "meta nfproto ipv4"
	case m.Key == KeyIPv6Dst:
		out = "meta nfproto ipv6"
	case m.Key == KeyFrameIPv4:
		out = "ether type ip"
	case m.Key == KeyFrameIPv6:
		out = "ether type ip6"
	}
	return out
}

func (a Action) String() string {
	switch a.Kind {
	case ActionJump:
		return "jump " + a.Chain
	case ActionRedirect:
		return fmt.Sprintf("redirect to :%d", a.Port)
	case ActionReject:
		return "reject"
	case ActionReset:
		return "reject with tcp reset"
	case ActionZone:
		return fmt.Sprintf("ct zone set %d", DNSZone)
	case ActionDrop:
		return "drop"
	case ActionAlarm:
		return fmt.Sprintf("limit rate over %d/second burst %d packets update @%s { meta nfproto timeout %s } drop", AlarmRate, AlarmBurst, a.Set, AlarmTime)
	}
	return "accept"
}
