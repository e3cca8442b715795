package iptables

import (
	"fmt"
	"strings"

	"github.com/sluice-cni/sluice/rules"
)

// condition is a set of tests that must all hold. Tests of the protocol's own
// header come together, since a rule names its protocol once.
type condition struct {
	protocol string // as -p takes it, "" for any
	header   string // tests that -m protocol provides
	others   string
}

// and joins two conditions; false when no packet can fulfil both.
func (c condition) and(d condition) (condition, bool) {
	if c.protocol != "" && d.protocol != "" && c.protocol != d.protocol {
		return condition{}, false
	}
	if c.protocol == "" {
		c.protocol = d.protocol
	}
	return condition{c.protocol, join(c.header, d.header), join(c.others, d.others)}, true
}

func (c condition) String() string {
	var protocol, module string
	if c.protocol != "" {
		protocol = "-p " + c.protocol
	}
	if c.header != "" {
		module = "-m " + headerModules[c.protocol]
	}
	return join(protocol, module, c.header, c.others)
}

var headerModules = map[string]string{"tcp": "tcp", "udp": "udp", "icmp": "icmp", "ipv6-icmp": "icmp6"}

// never is what an empty set matches: nothing.
var never []condition

// always is one condition that every packet fulfils.
var always = []condition{{}}

// alternatives translates a match into conditions of which one must hold.
// A negated look-up among several addresses or interfaces has no such form: see
// translator.unless.
func (t translator) alternatives(m rules.Match) ([]condition, error) {
	switch m.Key {
	case rules.KeyUID:
		return owners("--uid-owner", t.numbers(m)), nil
	case rules.KeyGID:
		return owners("--gid-owner", t.numbers(m)), nil
	case rules.KeyMark:
		return t.marks(m), nil
	case rules.KeyCgroup:
		return t.cgroups(m), nil
	case rules.KeyFamily:
		return t.dynamic(m), nil
	case rules.KeyInterface:
		return t.interfaces("-o", m), nil
	case rules.KeyInInterface:
		return t.interfaces("-i", m), nil
	case rules.KeyIPv4Dst:
		return t.addresses(m, !t.family.v6), nil
	case rules.KeyIPv6Dst:
		return t.addresses(m, t.family.v6), nil
	case rules.KeyTCPPort:
		return t.ports("tcp", "dport", m), nil
	case rules.KeyUDPPort:
		return t.ports("udp", "dport", m), nil
	case rules.KeyTCPSrcPort:
		return t.ports("tcp", "sport", m), nil
	case rules.KeyUDPSrcPort:
		return t.ports("udp", "sport", m), nil
	}
	return t.state(m.Key)
}

// state translates the keys that are looked up in nothing.
func (t translator) state(k rules.Key) ([]condition, error) {
	switch k {
	case rules.KeyLoopback:
		return []condition{{others: "-o lo"}}, nil
	case rules.KeyLeaves:
		return []condition{{others: "! -o lo"}}, nil
	case rules.KeyToLoopback4:
		return t.to(!t.family.v6, "127.0.0.0/8"), nil
	case rules.KeyToLoopback6:
		return t.to(t.family.v6, "::1/128"), nil
	case rules.KeyLocalDst:
		return []condition{{others: "-m addrtype --dst-type LOCAL"}}, nil
	case rules.KeyForeignSrc:
		foreign := "-m addrtype --src-type UNICAST"
		if t.family.v6 { // there a local address is unicast as well
			foreign += " -m addrtype ! --src-type LOCAL"
		}
		return []condition{{others: foreign}}, nil
	case rules.KeyMarked:
		return []condition{{others: "-m mark ! --mark 0x0"}}, nil
	case rules.KeyTCP:
		return []condition{{protocol: "tcp"}}, nil
	case rules.KeySYN:
		return []condition{{protocol: "tcp", header: "--tcp-flags FIN,SYN,RST,ACK SYN"}}, nil
	case rules.KeyFirst:
		return []condition{{protocol: "tcp", header: "--tcp-flags FIN,SYN,RST,ACK SYN", others: "-m conntrack ! --ctstatus CONFIRMED"}}, nil
	case rules.KeyNew:
		return []condition{{others: "-m conntrack --ctstate NEW"}}, nil
	case rules.KeyIGMP:
		return []condition{{protocol: "igmp"}}, nil
	case rules.KeyOngoing:
		return []condition{{others: "-m conntrack --ctstate RELATED,ESTABLISHED"}}, nil
	case rules.KeyRewritten:
		return []condition{{others: "-m conntrack --ctstate DNAT"}}, nil
	case rules.KeyICMPOther:
		return t.icmp(!t.family.v6, "icmp", "! --icmp-type 8"), nil
	case rules.KeyICMPv6Other:
		return t.icmp(t.family.v6, "ipv6-icmp", "! --icmpv6-type 128"), nil
	}
	return nil, fmt.Errorf("%w: iptables has no word for match %d of the plan", rules.ErrUnsupported, k)
}

// to is one prefix of a family.
func (t translator) to(ours bool, prefix string) []condition {
	if !ours {
		return never
	}
	return []condition{{others: "-d " + prefix}}
}

// icmp of the other family is not let through: only a raw socket sends it, and no
// program can tell its echo requests from the rest there.
func (t translator) icmp(ours bool, protocol, test string) []condition {
	if !ours {
		return never
	}
	return []condition{{protocol: protocol, header: test}}
}

// owners tests the user or group of the socket, ranges at once. Packets without a
// socket match none.
func owners(option string, ranges []numberRange) []condition {
	var out []condition
	for _, r := range ranges {
		out = append(out, condition{others: "-m owner " + option + " " + r.String()})
	}
	return out
}

func (t translator) marks(m rules.Match) []condition {
	if m.Not {
		var all []string
		for _, n := range t.sets[m.Set].Numbers {
			all = append(all, fmt.Sprintf("-m mark ! --mark 0x%x", n))
		}
		return []condition{{others: strings.Join(all, " ")}}
	}
	var out []condition
	for _, n := range t.sets[m.Set].Numbers {
		out = append(out, condition{others: fmt.Sprintf("-m mark --mark 0x%x", n)})
	}
	return out
}

// cgroups are those of the set that are as deep as the match's level. What is
// beneath one counts, as it does there.
func (t translator) cgroups(m rules.Match) []condition {
	var out []condition
	for _, path := range t.sets[m.Set].Cgroups {
		if rules.CgroupDepth(path) == m.Level {
			out = append(out, condition{others: "-m cgroup --path " + quote(path)})
		}
	}
	return out
}

// dynamic sets do not exist here, so they are empty for ever: see Limits.
func (t translator) dynamic(m rules.Match) []condition {
	if m.Not {
		return always
	}
	return never
}

func (t translator) interfaces(option string, m rules.Match) []condition {
	var out []condition
	for _, name := range t.sets[m.Set].Interfaces {
		out = append(out, condition{others: join(negation(m), option, quote(name))})
	}
	if m.Not && len(out) == 0 {
		return always
	}
	return out
}

// addresses tests the destination: merged ranges, as few prefixes as cover them.
func (t translator) addresses(m rules.Match, ours bool) []condition {
	if !ours {
		return never
	}
	if m.Set == "" {
		return always
	}
	var out []condition
	for _, r := range t.sets[m.Set].Addresses {
		for _, p := range r.Prefixes() {
			c := condition{others: join(negation(m), "-d", p.String())}
			if p.Bits() == 0 {
				c = condition{} // every address
				if m.Not {
					return never
				}
			}
			out = append(out, c)
		}
	}
	if m.Not && len(out) == 0 {
		return always
	}
	return out
}

func negation(m rules.Match) string {
	if m.Not {
		return "!"
	}
	return ""
}
