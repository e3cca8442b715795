package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go4.org/netipx"
)

// String is the plan in nft's own words, sets by name and elements in order, the
// way `nft list table inet sluice` shows it.
func (p Plan) String() string {
	var b strings.Builder
	b.WriteString("table inet sluice {\n")
	sets := slices.Clone(p.Sets)
	slices.SortFunc(sets, func(a, b Set) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range sets {
		b.WriteString(s.String())
	}
	for _, c := range p.Chains {
		b.WriteString(c.String())
	}
	b.WriteString("}\n")
	return b.String()
}

func (s Set) String() string {
	out := fmt.Sprintf("\tset %s {\n\t\ttype %s\n", s.Name, s.Type)
	if s.Interval() {
		out += "\t\tflags interval\n"
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
		out += fmt.Sprintf("\t\ttype %s hook output priority %d; policy accept;\n", c.Hook.Type, c.Hook.Priority)
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
}

func (m Match) String() string {
	out := keyWords[m.Key]
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
	}
	return "accept"
}
