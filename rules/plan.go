package rules

import (
	"go4.org/netipx"
)

// Plan is a Config as sets and chains: pure data that a backend puts into the
// kernel whole. The number of rules does not depend on the number of ranges.
type Plan struct {
	Hash   string // Config.Hash
	Sets   []Set
	Chains []Chain
}

// SetType is what a set's elements are, in nft's words.
type SetType string

const (
	SetIPv4      SetType = "ipv4_addr"
	SetIPv6      SetType = "ipv6_addr"
	SetPort      SetType = "inet_service"
	SetUID       SetType = "uid"
	SetGID       SetType = "gid"
	SetMark      SetType = "mark"
	SetInterface SetType = "ifname"
)

// Set is a named set; one of its lists is used, according to Type. Ranges are
// merged: neither overlapping nor touching.
type Set struct {
	Name       string
	Type       SetType
	Addresses  []netipx.IPRange
	Ports      Ports
	Numbers    []uint32
	Interfaces []string
}

// Interval reports whether the elements are ranges.
func (s Set) Interval() bool {
	return s.Type == SetIPv4 || s.Type == SetIPv6 || s.Type == SetPort
}

// Chain is an ordered list of rules. One without a Hook is entered by a jump.
type Chain struct {
	Name  string
	Hook  *Hook
	Rules []Rule
}

// Hook is where a chain stands in the output path.
type Hook struct {
	Type     string // "nat" or "filter"
	Priority int32
}

// Rule applies its action to the packets that all its matches accept. Its name is
// unique in the chain: CHECK reports it, and `nft list` shows it as the comment.
type Rule struct {
	Name    string
	Reason  Reason
	Matches []Match
	Action  Action
}

// Match is one condition. Key says of what; a key about a header holds only for
// packets that have it.
type Match struct {
	Key  Key
	Set  string // the set to look up in; "" compares with Port
	Not  bool   // not in the set
	Port uint16
}

// Key is the property of a packet that a Match looks at.
type Key uint8

const (
	KeyUID Key = iota
	KeyGID
	KeyMark
	KeyInterface   // the outgoing one
	KeyLoopback    // outgoing interface is lo
	KeyIPv4Dst     // an IPv4 packet and its destination
	KeyIPv6Dst     // an IPv6 packet and its destination
	KeyTCPPort     // TCP and its destination port
	KeyUDPPort     // UDP and its destination port
	KeyTCPSrcPort  // TCP and its source port
	KeyUDPSrcPort  // UDP and its source port
	KeyTCP         // any TCP
	KeySYN         // the packet that opens a TCP connection
	KeyIGMP        // any IGMP
	KeyICMPOther   // ICMP except an echo request
	KeyICMPv6Other // ICMPv6 except an echo request
	KeyOngoing     // conntrack has seen the other direction, or it is related
	KeyRewritten   // a redirect changed its destination
)

// Action is what a rule does.
type Action struct {
	Kind  ActionKind
	Port  uint16 // ActionRedirect
	Chain string // ActionJump
}

// ActionKind is the kind of an Action.
type ActionKind uint8

const (
	ActionAccept   ActionKind = iota // ends the walk of this hook
	ActionJump                       // walks Chain, then comes back
	ActionRedirect                   // to Port of the loopback address
	ActionReject                     // answers with port unreachable
	ActionReset                      // answers with a TCP reset
	ActionZone                       // puts the packet in the DNS conntrack zone
)

// DNSZone is the conntrack zone of captured DNS. In the default zone a query the
// proxy sends from a source port that an application used a moment ago would be
// taken for that application's flow, and redirected to the proxy itself.
const DNSZone = 1
